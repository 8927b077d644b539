"""os-ken's test files: which tests there are, and what a switch must be able to do to pass each."""

import collections
import json
import re

SUITES = ("action", "match", "group", "meter")

# What a test's flows may use and Footbridge does not have, and what the tables call it. Everything else that
# the suites use is in crates/openflow/src/field.rs and crates/openflow/src/action.rs. The names are os-ken's.
BEYOND = {
    "MPLS": {
        "OFPActionPushMpls", "OFPActionPopMpls", "OFPActionSetMplsTtl", "OFPActionDecMplsTtl",
        "OFPActionCopyTtlOut", "OFPActionCopyTtlIn", "mpls_label", "mpls_tc", "mpls_bos",
    },
    "PBB": {"OFPActionPushPbb", "OFPActionPopPbb", "pbb_isid"},
    "IPv6 extension headers": {"ipv6_exthdr"},
    "writes to eth_type, ip_proto": {"set eth_type", "set ip_proto"},
    "groups": {"OFPGroupMod"},
    "meters": {"OFPMeterMod"},
}


class Test(collections.namedtuple("Test", "name suite subject needs says")):
    """One test.

    name     `FILE#NUMBER`, as recorder.py takes it
    suite    one of SUITES
    subject  the field or action that the file is about, without its variants: `IPV4_SRC`, `set PUSH_VLAN`
    needs    keys of BEYOND that its flows use
    says     os-ken's description
    """


def tests(of13, suites):
    """The tests of some suites, in the order of their files' names."""
    for suite in suites:
        for path in sorted((of13 / suite).rglob("*.json")):
            file = str(path.relative_to(of13).with_suffix(""))
            # A file is a list: its title, then the tests.
            for number, test in enumerate(part for part in json.loads(path.read_text()) if isinstance(part, dict)):
                yield Test(f"{file}#{number}", suite, subject(file), needs(test), test["description"])


def subject(file):
    name = re.sub(r"^\d+_", "", file.rsplit("/")[-1])
    name = re.sub(r"_(Mask|IPv4|IPv6|multiple)$", "", name)
    return f"set {name}" if "SET_FIELD" in file else name


def needs(test):
    used = set(uses(test["prerequisite"]))
    return [feature for feature, names in BEYOND.items() if used & names]


def uses(value, setting=False):
    """The messages, actions and fields that JSON names; a field that is set is also `set FIELD`."""
    if isinstance(value, list):
        for item in value:
            yield from uses(item, setting)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key == "OXMTlv":
                yield inner["field"]
                if setting:
                    yield f"set {inner['field']}"
            yield from uses(inner, setting or key == "OFPActionSetField")

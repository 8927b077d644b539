"""Results as tables: for people, for docs/conformance.md, and the file of expected results."""

import collections

# The runs that are compared, and their columns' titles.
TITLES = {
    "footbridge": "Footbridge",
    "ovs": "Open vSwitch",
    "ovs-settled": "Open vSwitch, waited for",
}
PASSED = "ok"


def markdown(tests, results):
    """The score: what Footbridge lists, by field and action; then what it does not list, by what is missing.

    `results` is {run: {test name: PASSED or why not}}.
    """
    rows = collections.defaultdict(list)
    for test in tests:
        rows[test.suite, test.subject if not test.needs else None, " and ".join(test.needs)].append(test.name)
    listed = {key: names for key, names in rows.items() if key[1]}
    beyond = {key: names for key, names in rows.items() if not key[1]}
    everything = [test.name for test in tests]

    lines = [*head("suite", "field or action")]
    for (suite, subject, _), names in listed.items():
        lines.append(row(suite, f"`{subject}`", names, results))
    lines.append(row("", "**all that Footbridge lists**", sum(listed.values(), []), results))
    lines += ["", *head("suite", "the test's flows also use")]
    for (suite, _, feature), names in beyond.items():
        lines.append(row(suite, feature, names, results))
    lines.append(row("", "**all that it does not list**", sum(beyond.values(), []), results))
    lines.append(row("", "**all tests**", everything, results))
    return "\n".join(lines)


def head(*names):
    titles = [*names, "tests", *TITLES.values()]
    return ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(names) + " ---: |" * (1 + len(TITLES))]


def row(suite, what, names, results):
    scores = [sum(results[run].get(name) == PASSED for name in names) for run in TITLES]
    return "| " + " | ".join(map(str, [suite, what, len(names), *scores])) + " |"


def to_tsv(tests, results):
    """The expected results: a line a test, its name and each run's result."""
    lines = ["\t".join(("test", *TITLES))]
    lines += ["\t".join((test.name, *(results[run][test.name] for run in TITLES))) for test in tests]
    return "\n".join(lines) + "\n"


def from_tsv(text):
    head, *lines = [line.split("\t") for line in text.splitlines()]
    return {run: {line[0]: line[column] for line in lines} for column, run in enumerate(head) if column > 0}


def changes(expected, results):
    """The tests that pass and did not, or the other way, or are new: (name, expected, result)."""
    return [
        (name, expected.get(name), result)
        for name, result in results.items()
        if name not in expected or (result == PASSED) != (expected[name] == PASSED)
    ]

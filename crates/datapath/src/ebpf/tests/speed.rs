//! How long a packet takes.

use super::bed::Bed;
use footbridge_openflow::PortNo;

#[test]
fn arp_smoke() {
    let Some(mut bed) = Bed::new("arp_smoke", 6) else { return };
    bed.flows(&[
        "table=0,priority=200,in_port=2 actions=load:0x1->NXM_NX_REG0[0..15],resubmit(,10)",
        "table=0,priority=0 actions=drop",
        "table=10,priority=200,arp,in_port=2,arp_spa=10.222.1.1,arp_sha=4e:99:08:c1:53:be actions=resubmit(,20)",
        "table=10,priority=0 actions=drop",
        "table=20,priority=200,arp,arp_tpa=10.222.2.1,arp_op=1 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:aa:bb:cc:dd:ee:ff,load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0xaabbccddeeff->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0xade0201->NXM_OF_ARP_SPA[],IN_PORT",
        "table=20,priority=0 actions=drop",
    ]).unwrap_or_else(|e| panic!("{e}"));
    let frame: Vec<u8> = [
        &[0xff; 6][..], &[0x4e, 0x99, 0x08, 0xc1, 0x53, 0xbe], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &[0x4e, 0x99, 0x08, 0xc1, 0x53, 0xbe, 10, 222, 1, 1, 0, 0, 0, 0, 0, 0, 10, 222, 2, 1], &[0; 18],
    ].concat();
    println!("{:?}", bed.run(PortNo(2), &frame));
    println!("{} ns", bed.run_often(PortNo(2), &frame, 1_000_000));
}

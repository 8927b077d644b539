use super::*;

const ARTICLE: &str = include_str!("../../../footbridge/labs/article.yaml");
const SMALL: &str = include_str!("../../../footbridge/labs/small.yaml");

#[test]
fn reads_the_articles_cluster() {
    let cluster = Cluster::parse("article.yaml", ARTICLE).unwrap();
    assert_eq!(cluster.nodes.keys().collect::<Vec<_>>(), ["master", "worker1", "worker2"]);
    assert_eq!(cluster.pods_on("worker1").count(), 4);
    let worker1 = &cluster.nodes["worker1"];
    assert_eq!(worker1.subnet.unwrap().to_string(), "10.222.1.0/24");
    assert_eq!(worker1.address.unwrap().to_string(), "10.79.1.201");
    assert_eq!(worker1.gateway_mac.unwrap().to_string(), "4e:99:08:c1:53:be");
    let service = cluster.services.values().next().unwrap();
    let endpoints: Vec<_> =
        cluster.endpoints(service, &service.ports[0]).map(|(_, address)| address.to_string()).collect();
    assert_eq!(endpoints, ["10.222.1.47:80", "10.222.2.34:80"]);
}

#[test]
fn reads_a_list_without_annotations_and_named_target_ports() {
    let cluster = Cluster::parse("small.yaml", SMALL).unwrap();
    assert_eq!(cluster.nodes["left"].subnet.unwrap().to_string(), "172.20.0.64/26");
    let service = cluster.services.values().next().unwrap();
    let endpoints: Vec<_> =
        cluster.endpoints(service, &service.ports[0]).map(|(_, address)| address.to_string()).collect();
    assert_eq!(endpoints, ["172.20.0.71:8080", "172.20.5.20:8080"]);
}

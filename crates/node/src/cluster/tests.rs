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

/// What `text` is refused for, one line a problem.
fn problems(text: &str) -> String {
    Cluster::parse("cluster.yaml", text).unwrap_err().to_string()
}

#[test]
fn says_everything_that_is_wrong_each_with_its_line() {
    insta::assert_snapshot!(problems(include_str!("../../tests/data/wrong.yaml")));
}

#[test]
fn says_where_yaml_is_broken() {
    insta::assert_snapshot!(problems("apiVersion: v1\nkind: Node\nmetadata:\n  name: [a\nspec: {}\n"));
    insta::assert_snapshot!(problems(
        "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec: {podCIDR: [1]}\n"
    ));
}

#[test]
fn the_order_of_objects_means_nothing() {
    let mut documents: Vec<&str> = ARTICLE.split("\n---\n").collect();
    let cluster = Cluster::parse("article.yaml", ARTICLE).unwrap();
    for _ in 0..documents.len() {
        documents.rotate_left(1);
        assert_eq!(Cluster::parse("rotated", &documents.join("\n---\n")).unwrap(), cluster);
    }
    documents.reverse();
    assert_eq!(Cluster::parse("reversed", &documents.join("\n---\n")).unwrap(), cluster);
}

#[test]
fn a_network_policy_is_taken_note_of_and_nothing_else() {
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\nspec: {podSelector: {}}\n";
    let cluster = Cluster::parse("policy", policy).unwrap();
    assert_eq!(
        cluster.unenforced_policies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["default/deny"]
    );
}

#[test]
fn pods_of_the_host_network_finished_ones_and_those_without_address_are_left_out() {
    let small =
        SMALL.replace("status: {podIP: 172.20.0.70}", "status: {podIP: 172.20.0.70, phase: Succeeded}");
    let small = small.replace("status: {podIP: 172.20.5.20}", "status: {}");
    let cluster = Cluster::parse("small", &small).unwrap();
    assert_eq!(cluster.pods.len(), 1);
}

#[test]
fn an_empty_text_is_an_empty_cluster() {
    for text in ["", "\n---\n# nothing\n", "---\n...\n"] {
        assert_eq!(Cluster::parse("empty", text).unwrap(), Cluster::default());
    }
}

#[test]
fn refuses_names_that_are_no_dns_names() {
    let long = "a".repeat(254);
    for name in ["..", "a/b", "a\\nb", "", "-a", "A", "a_b", "a..b", &long] {
        for kind in ["Node", "Pod", "Service"] {
            let text = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: \"{name}\"}}\n");
            let said = problems(&text);
            assert!(said.starts_with("cluster.yaml:1:1: ") && said.lines().count() == 1, "{said}");
        }
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: \"{name}\"}}\n");
        assert!(problems(&text).contains("metadata.namespace"), "{name}");
    }
    assert!(problems("{apiVersion: v1, kind: Service, metadata: {name: a.b}}").contains("1 to 63"));
}

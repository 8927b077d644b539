//! Step 3: a service call, and the way it takes.

use super::cast::{Called, Cast};
use super::look;
use crate::lab::plan::{GATEWAY, PodPlan};
use crate::lab::report::Report;
use crate::lab::{Lab, LabError, web};
use std::collections::BTreeMap;

/// How often a service is called until every endpoint has answered. With two endpoints at random,
/// one stays silent for 60 calls once in 10^18 runs.
const TRIES: usize = 60;

/// What ct() marks connections with that came from the gateway.
const GATEWAY_MARK: u32 = 0x20;

pub(crate) async fn run(lab: &Lab, cast: &Cast, report: &mut Report) -> Result<(), LabError> {
    let (Some(client), Some(service)) = (&cast.client, &cast.service) else {
        report.step(3, "a service call");
        report.not_applicable("no service with an endpoint, or no pod to call it");
        return Ok(());
    };
    report.step(3, &format!("{} calls {}, and every endpoint answers", client.name, service.name));
    for (endpoint, _) in &service.endpoints {
        report.expect(greeting(endpoint).trim_end());
    }
    let before = counters(lab, cast).await?;
    let url = service.url();
    let answers = call(lab, &client.name, &url, |seen| {
        service.endpoints.iter().all(|(e, _)| seen.contains_key(&greeting(e)))
    })
    .await?;
    report.saw(&format!("{}# curl {url}    (times)", client.name), &counted(&answers));
    for (endpoint, _) in &service.endpoints {
        let claim = format!("{} on {} answers {}", endpoint.name, endpoint.node, client.name);
        report.check(answers.contains_key(&greeting(endpoint)), &claim, &counted(&answers));
    }
    let strange = answers.keys().any(|answer| !service.endpoints.iter().any(|(e, _)| greeting(e) == *answer));
    report.check(!strange, "nothing else answers", &counted(&answers));
    the_way(lab, cast, client, service, &before, report).await?;

    let from_node = call(lab, &cast.here, &service.at.to_string(), |seen| {
        service.endpoints.iter().all(|(e, _)| seen.contains_key(&greeting(e)))
    })
    .await?;
    let all = service.endpoints.iter().all(|(e, _)| from_node.contains_key(&greeting(e)));
    report.check(
        all,
        &format!("the node {} itself reaches every endpoint at {}", cast.here, service.at),
        &counted(&from_node),
    );
    for (endpoint, _) in &service.endpoints {
        let own = call(lab, &endpoint.name, &url, |seen| seen.contains_key(&greeting(endpoint))).await?;
        let claim = format!("{} calls its own service and is answered by itself (hairpin)", endpoint.name);
        report.check(own.contains_key(&greeting(endpoint)), &claim, &counted(&own));
    }
    Ok(())
}

/// The counters along the way, and the two connections that a call is in the bridge's tracker.
async fn the_way(
    lab: &Lab,
    cast: &Cast,
    client: &PodPlan,
    service: &Called,
    before: &BTreeMap<(String, String), u64>,
    report: &mut Report,
) -> Result<(), LabError> {
    tokio::time::sleep(look::settling(lab)).await;
    let after = counters(lab, cast).await?;
    let risen: Vec<(&(String, String), u64)> = after
        .iter()
        .map(|(flow, packets)| (flow, packets - before.get(flow).copied().unwrap_or(0).min(*packets)))
        .filter(|(_, rise)| *rise > 0)
        .collect();
    let shown: String =
        risen.iter().map(|((node, text), rise)| format!("{node}: +{rise} {text}\n")).collect();
    let passed = |node: &str, table: &str, part: &str| {
        risen.iter().any(|((n, text), _)| n == node && text.contains(table) && text.contains(part))
    };
    let here = cast.here.as_str();
    report.check(passed(here, "table=40,", "nw_dst="), "to the host for DNAT: table 40 counted it", &shown);
    let remote = service.endpoints.iter().find(|(e, _)| e.node != here);
    if let Some((remote, _)) = remote.filter(|_| !lab.tunnels()) {
        let delivered = passed(&remote.node, "table=10,", &format!("in_port=\"{GATEWAY}\""));
        let claim = format!("routed by the hosts: the bridge of {} has it from its gateway", remote.node);
        report.check(delivered, &claim, &shown);
    } else if let Some((remote, _)) = remote {
        let Some(there) = lab.plan.nodes.get(&remote.node) else { return Ok(()) };
        let to_tunnel = passed(here, "table=70,", &format!("nw_dst={} ", there.subnet));
        report.check(to_tunnel, &format!("into the tunnel to {}: table 70 of {here}", remote.node), &shown);
        let rewritten = passed(
            &remote.node,
            "table=70,",
            &format!("dl_dst=aa:bb:cc:dd:ee:ff,nw_dst={} ", remote.address),
        );
        report.check(
            rewritten,
            &format!("the global virtual MAC becomes {}'s: table 70 of {}", remote.name, remote.node),
            &shown,
        );
        let back = passed(here, "table=70,", &format!("dl_dst=aa:bb:cc:dd:ee:ff,nw_dst={} ", client.address))
            || passed(here, "table=31,", "ct_mark=0x20");
        report.check(back, &format!("the answer comes back by the bridge of {here}"), &shown);
    }
    let connections = look::connections(lab, here).await?;
    let ours: Vec<_> = connections.iter().filter(|c| c.text.contains(&client.address.to_string())).collect();
    let service_ip = service.at.ip().to_string();
    let example = |wanted: &dyn Fn(&str, u32) -> bool| {
        ours.iter().find(|c| wanted(&c.text, c.mark)).map(|c| c.text.clone())
    };
    let to_service = example(&|text, _| text.contains(&service_ip));
    let to_endpoint = example(&|text, mark| !text.contains(&service_ip) && mark == GATEWAY_MARK);
    let lines: Vec<String> = [&to_service, &to_endpoint].into_iter().flatten().cloned().collect();
    let command = look::connections_command(lab);
    report.saw(&format!("{here}# {command}    (one call)"), &lines.join("\n"));
    report.check(
        to_service.is_some() && to_endpoint.is_some(),
        "a call is two connections: to the ClusterIP, and from the gateway (mark 0x20) to the endpoint",
        &connections.iter().map(|c| format!("{}\n", c.text)).collect::<String>(),
    );
    Ok(())
}

/// Call until `enough`, or often enough. Answers, and how often each came.
async fn call(
    lab: &Lab,
    from: &str,
    url: &str,
    enough: impl Fn(&BTreeMap<String, usize>) -> bool,
) -> Result<BTreeMap<String, usize>, LabError> {
    let mut answers = BTreeMap::new();
    for _ in 0..TRIES {
        let answer = match look::run(lab, from, &["curl", "-sS", "--max-time", "3", url]).await {
            Ok(answer) => answer,
            // No answer is what the step has to tell, not why it should end.
            Err(LabError::Command { stderr, .. }) => stderr + "\n",
            Err(error) => return Err(error),
        };
        let failures = answers
            .iter()
            .filter(|(a, _): &(&String, &usize)| a.starts_with("curl:"))
            .map(|(_, n)| *n)
            .sum::<usize>();
        *answers.entry(answer).or_default() += 1;
        if enough(&answers) || failures >= 3 {
            break;
        }
    }
    Ok(answers)
}

async fn counters(lab: &Lab, cast: &Cast) -> Result<BTreeMap<(String, String), u64>, LabError> {
    let mut counters = BTreeMap::new();
    let nodes = cast
        .service
        .iter()
        .flat_map(|s| s.endpoints.iter().map(|(e, _)| e.node.clone()))
        .chain([cast.here.clone()]);
    for node in nodes {
        for (text, packets) in look::counters(&look::flows(lab, &node, "").await?) {
            counters.insert((node.clone(), text), packets);
        }
    }
    Ok(counters)
}

fn greeting(pod: &PodPlan) -> String {
    web::greeting(&pod.hostname, pod.address, pod.subnet.prefix())
}

fn counted(answers: &BTreeMap<String, usize>) -> String {
    answers.iter().map(|(answer, times)| format!("{} ({times})\n", answer.trim_end())).collect()
}

//! Copies in the trace of their primary: `envoy/examples/tracing` as it is shipped, before a target that traces, too.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{json, Value};

use crate::prometheus::yaml;
use crate::support::bootstrap::Filter;
use crate::support::client::{empty, Client};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::setup::{default_wasm, Setup};
use crate::support::upstream::Upstream;

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A `traceparent` in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Context {
    trace: String,
    span: String,
    flags: String,
}

impl Context {
    fn of(request: &Recorded) -> Self {
        let header = request.only("traceparent");
        let parts: Vec<&str> = header.split('-').collect();
        let ["00", trace, span, flags] = parts[..] else {
            panic!("{header}");
        };
        Self { trace: trace.to_owned(), span: span.to_owned(), flags: flags.to_owned() }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The gateway, a proxy before the target that traces, too, and who they report to.
struct Traced {
    gateway: Envoy,
    _proxy: Envoy,
    primary: Upstream,
    audit: Upstream,
    collector: Upstream,
}

/// Reports each span at once.
fn eager() -> Value {
    json!({"layers": [{"name": "test", "static_layer": {"tracing.opentelemetry.min_flush_spans": 1}}]})
}

impl Traced {
    /// The shipped bootstrap on free ports, after this change.
    async fn start(change: impl FnOnce(&mut Value)) -> Self {
        let (primary, audit, collector) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
        let mut bootstrap = yaml("envoy/examples/tracing/envoy.yaml");
        let mut tracing = bootstrap.pointer(MANAGER).unwrap()["tracing"].clone();
        tracing["random_sampling"]["value"] = json!(100);
        tracing["provider"]["typed_config"]["service_name"] = json!("audit");
        let proxy = Setup::new()
            .cluster("primary", audit.address())
            .cluster("collector", collector.address())
            .listener("main", Filter::None)
            .with("", "layered_runtime", eager())
            .with(MANAGER, "tracing", tracing)
            .start()
            .await;

        change(&mut bootstrap);
        bootstrap["layered_runtime"]["layers"].as_array_mut().unwrap().push(eager()["layers"][0].clone());
        let mut set = |pointer: &str, value: Value| {
            *bootstrap.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        };
        set("/admin/address/socket_address/port_value", 0.into());
        set("/static_resources/listeners/0/address/socket_address/port_value", 0.into());
        for (index, address) in [primary.address(), proxy.address("main"), collector.address()].iter().enumerate() {
            let endpoint = format!("/static_resources/clusters/{index}/load_assignment/endpoints/0/lb_endpoints/0/endpoint");
            set(&format!("{endpoint}/address/socket_address/port_value"), address.port().into());
        }
        let filters = bootstrap.pointer_mut(&format!("{MANAGER}/http_filters")).unwrap().as_array_mut().unwrap();
        let sidecast = filters.iter_mut().find(|filter| filter["name"] == "sidecast").unwrap();
        sidecast["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = json!(default_wasm());
        Self { gateway: Setup::whole(bootstrap).start().await, _proxy: proxy, primary, audit, collector }
    }

    /// Sends a request, and returns the trace context of the primary and that of the target, both behind the proxies.
    async fn send(&self, traceparent: Option<&str>) -> (Context, Context) {
        let client = Client::http1(self.gateway.address("ingress"));
        let mut request = client.request("GET", "/");
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        assert_eq!(client.send(request.body(empty()).unwrap()).await.status, 200);
        (Context::of(&self.primary.take_one().await), Context::of(&self.audit.take_one().await))
    }

    /// All spans reported so far, each with the service that reported it.
    fn spans(&self) -> Vec<(String, Span)> {
        let reports = self.collector.received().into_iter().filter(|report| report.complete);
        let mut spans = Vec::new();
        for report in reports {
            assert_eq!(report.path, "/v1/traces");
            for resource in ExportTraceServiceRequest::decode(report.body()).unwrap().resource_spans {
                let attributes = format!("{:?}", resource.resource.unwrap().attributes);
                let service = ["gateway", "audit"].into_iter().find(|name| attributes.contains(&format!("{name:?}"))).unwrap();
                for scope in resource.scope_spans {
                    spans.extend(scope.spans.into_iter().map(|span| (service.to_owned(), span)));
                }
            }
        }
        spans
    }

    /// Waits for the two spans of one request in this trace: the gateway's, and that of the target's proxy.
    async fn pair(&self, trace: &str) -> (Span, Span) {
        let spans = eventually(PATIENCE, "both spans", async || {
            let mut spans = self.spans();
            spans.retain(|(_, span)| hex(&span.trace_id) == trace);
            spans.sort_by(|(one, _), (other, _)| other.cmp(one));
            match spans.iter().map(|(service, _)| service.as_str()).collect::<Vec<_>>()[..] {
                ["gateway", "audit"] => Ok(spans),
                _ => Err(format!("{spans:?}")),
            }
        })
        .await;
        let [(_, gateway), (_, audit)] = spans.try_into().unwrap();
        (gateway, audit)
    }
}

#[tokio::test]
async fn a_copy_is_in_the_trace_that_envoy_begins_for_its_primary() {
    let traced = Traced::start(|_| {}).await;
    let (primary, copy) = traced.send(None).await;
    let (gateway, audit) = traced.pair(&primary.trace).await;
    assert_eq!(gateway.parent_span_id, b"");
    assert_eq!((primary.span, primary.flags), (hex(&gateway.span_id), "01".to_owned()));
    assert_eq!(copy, Context { trace: primary.trace, span: hex(&audit.span_id), flags: "01".to_owned() });
    assert_eq!(audit.parent_span_id, gateway.span_id);
}

#[tokio::test]
async fn a_copy_is_in_the_trace_that_the_client_began() {
    let traced = Traced::start(|_| {}).await;
    let (primary, copy) = traced.send(Some(&format!("00-{TRACE}-{PARENT}-01"))).await;
    let (gateway, audit) = traced.pair(TRACE).await;
    assert_eq!((hex(&gateway.parent_span_id).as_str(), primary.trace.as_str()), (PARENT, TRACE));
    assert_eq!((primary.span, copy.span), (hex(&gateway.span_id), hex(&audit.span_id)));
    assert_eq!(audit.parent_span_id, gateway.span_id);
}

#[tokio::test]
async fn what_is_not_sampled_for_the_primary_is_not_sampled_for_the_target() {
    let traced = Traced::start(|_| {}).await;
    let (primary, copy) = traced.send(Some(&format!("00-{TRACE}-{PARENT}-00"))).await;
    for context in [primary, copy] {
        assert_eq!((context.trace.as_str(), context.flags.as_str()), (TRACE, "00"));
    }
    // What would have been reported comes before this.
    let (sampled, _) = traced.send(None).await;
    traced.pair(&sampled.trace).await;
    assert_eq!(traced.spans().len(), 2);

    let never = |bootstrap: &mut Value| bootstrap.pointer_mut(MANAGER).unwrap()["tracing"]["random_sampling"]["value"] = json!(0);
    let traced = Traced::start(never).await;
    for traceparent in [None, Some(format!("00-{TRACE}-{PARENT}-01"))] {
        let (primary, copy) = traced.send(traceparent.as_deref()).await;
        assert_eq!((copy.trace, copy.flags.as_str()), (primary.trace, "00"), "{traceparent:?}");
        // Envoy 1.38 takes the client's word for it.
        assert!(traceparent.is_some() || primary.flags == "00", "{}", primary.flags);
    }
}

#[tokio::test]
async fn by_itself_a_copy_is_a_child_without_a_span_in_the_trace_that_the_client_sent_and_in_none_else() {
    let alone = |bootstrap: &mut Value| {
        let filters = bootstrap.pointer_mut(&format!("{MANAGER}/http_filters")).unwrap().as_array_mut().unwrap();
        assert_eq!(filters.remove(0)["name"], "trace-of-the-request");
        let configuration = &mut filters[0]["typed_config"]["config"]["configuration"]["value"];
        assert!(configuration.as_object_mut().unwrap().remove("correlation").is_some());
    };
    let traced = Traced::start(alone).await;
    let (primary, copy) = traced.send(Some(&format!("00-{TRACE}-{PARENT}-01"))).await;
    assert_eq!((primary.trace.as_str(), copy.trace.as_str()), (TRACE, TRACE));
    let (gateway, audit) = traced.pair(TRACE).await;
    let made = hex(&audit.parent_span_id);
    assert!(made.len() == 16 && made != PARENT && made != hex(&gateway.span_id), "{made}");
    // The target's proxy has to begin a trace of its own.
    let (primary, copy) = traced.send(None).await;
    assert_ne!(primary.trace, copy.trace);
}

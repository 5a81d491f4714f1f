//! Istio's virtual services.

use super::condition::{self, Compared, Header, Terms};
use super::envoy_match::{number, snake};
use super::remark::{Origin, Remarks, Source};
use super::shape::{self, literal, Matched, Pattern, Put, Request, Shape};
use super::table::{Entry, Host, Mirror};
use super::term::{every, Term};
use super::text::Domain;
use crate::check::tree::Node;

/// A virtual service, and where it stands.
pub(super) struct VirtualService<'n> {
    pub(super) node: &'n Node,
    pub(super) source: Source,
}

/// What the files and the user say besides.
pub(super) struct Known<'n> {
    /// The namespace of what has none.
    pub(super) namespace: &'n str,
    /// Names and namespaces of services with one port, and the port.
    pub(super) ports: Vec<(String, String, u16)>,
}

/// The proxies that sidecars are.
pub(super) const MESH: &str = "mesh";

impl<'n> VirtualService<'n> {
    fn spec(&self) -> Option<&'n Node> {
        self.node.get("spec")
    }

    pub(super) fn namespace<'a>(&'a self, known: &'a Known<'_>) -> &'a str {
        self.node.at(&["metadata", "namespace"]).and_then(Node::text).unwrap_or(known.namespace)
    }

    /// The gateways whose proxies it is for, `mesh` among them.
    pub(super) fn places(&self) -> Vec<&'n str> {
        let gateways = self.spec().and_then(|spec| spec.get("gateways")).map_or(&[][..], Node::items);
        let named: Vec<&str> = gateways.iter().filter_map(Node::text).collect();
        if named.is_empty() {
            vec![MESH]
        } else {
            named
        }
    }

    fn routes(&self) -> &'n [Node] {
        self.spec().and_then(|spec| spec.get("http")).map_or(&[][..], Node::items)
    }

    pub(super) fn has_mirrors(&self) -> bool {
        self.routes().iter().any(|route| MIRRORS.iter().any(|field| route.get(field).is_some()))
    }

    /// Its routes in the proxies of one place.
    pub(super) fn host(&self, place: &str, known: &Known<'_>, remarks: &mut Remarks) -> Host {
        let namespace = self.namespace(known);
        let hosts = self.spec().and_then(|spec| spec.get("hosts")).map_or(&[][..], Node::items);
        let domains = hosts.iter().filter_map(Node::text).map(|host| domain(host, namespace)).collect();
        let reader = Reader { source: &self.source, namespace, place, known };
        let mut entries = Vec::new();
        for route in self.routes() {
            entries.extend(reader.route(route, remarks));
        }
        Host { domains, any_port: true, entries }
    }
}

const MIRRORS: [&str; 2] = ["mirror", "mirrors"];

/// The names by which clients call a host.
fn domain(host: &str, namespace: &str) -> Domain {
    if host.contains('*') {
        return Domain::of(host);
    }
    if !host.contains('.') {
        return Domain::Service(host.to_ascii_lowercase(), namespace.to_ascii_lowercase());
    }
    match host.strip_suffix(".svc.cluster.local").and_then(|rest| rest.split_once('.')) {
        Some((name, namespace)) if !namespace.contains('.') => {
            Domain::Service(name.to_ascii_lowercase(), namespace.to_ascii_lowercase())
        }
        _ => Domain::of(host),
    }
}

struct Reader<'r> {
    source: &'r Source,
    namespace: &'r str,
    place: &'r str,
    known: &'r Known<'r>,
}

/// What a rule of a virtual service says besides its conditions.
struct Said {
    shape: Shape,
    remarks: Vec<String>,
    lost: Vec<String>,
}

impl Reader<'_> {
    fn route(&self, route: &Node, remarks: &mut Remarks) -> Vec<Entry> {
        let origin = self.source.origin(route);
        let matches = route.get("match").map_or(&[][..], Node::items);
        let is_forwarded = route.get("redirect").is_none() && route.get("direct_response").is_none();
        let mirrors = if is_forwarded { self.mirrors(route, remarks) } else { Vec::new() };
        if let (Some(delegate), true) = (route.get("delegate"), is_forwarded) {
            remarks.remark(
                &self.source.origin(delegate),
                "`delegate`: the routes of the other virtual service are not included; put them here and convert again",
            );
        }
        let entry = |one: Option<&Node>| {
            let (terms, mut lost, matched) = one.map_or((vec![Term::default()], Vec::new(), None), |one| self.conditions(one));
            let said = said(route, matched.as_ref());
            let mirrors: Vec<Mirror> = mirrors
                .iter()
                .map(|mirror| Mirror {
                    shape: said.shape.clone(),
                    remarks: mirror.remarks.iter().chain(&said.remarks).cloned().collect(),
                    ..mirror.clone()
                })
                .collect();
            if !mirrors.is_empty() {
                lost.extend(said.lost);
            }
            let origin = one.map_or(origin.clone(), |one| self.source.origin(one));
            Entry { origin, terms, lost, percent: 100.0, mirrors }
        };
        if matches.is_empty() {
            return vec![entry(None)];
        }
        let holds = |one: &&Node| {
            let gateways = one.get("gateways").map_or(&[][..], Node::items);
            gateways.is_empty() || gateways.iter().any(|gateway| gateway.text() == Some(self.place))
        };
        for other in matches.iter().filter(|one| !holds(one) && !mirrors.is_empty()) {
            remarks.note(&self.source.origin(other), format!("left out: it is for other gateways than {:?}", self.place));
        }
        matches.iter().filter(holds).map(|one| entry(Some(one))).collect()
    }

    /// What a match takes, or more; what no rule can say; and what a rewrite replaces.
    fn conditions(&self, node: &Node) -> (Vec<Term>, Vec<String>, Option<Matched>) {
        let ignores_case = node.get("ignore_uri_case").is_some_and(Node::is_true);
        let (mut all, mut lost, mut matched) = (Vec::new(), Vec::new(), None);
        let header = |name: &str, compared: Compared, is_inverted: bool| {
            // Since Istio 1.23 an absent header is without the value, too.
            Header { name: name.to_owned(), compared, ignores_case: false, is_inverted, absent_is_empty: is_inverted }.terms()
        };
        for member in node.members() {
            let value = &member.value;
            let mut add = |terms: Terms| match terms {
                Ok(terms) => all.push(terms),
                Err(why) => lost.push(why),
            };
            match snake(&member.key).as_str() {
                "uri" => match string(value) {
                    Ok(compared) => {
                        matched = match &compared {
                            Compared::Exact(text) | Compared::Prefix(text) => {
                                Some(Matched::Text { text: text.clone(), ignores_case })
                            }
                            _ => Some(Matched::Whole),
                        };
                        let is_pattern = matches!(compared, Compared::Regex(_));
                        let (terms, why) = condition::path_or_more(&compared, ignores_case && !is_pattern);
                        all.push(terms);
                        lost.extend(why);
                    }
                    Err(why) => add(Err(why)),
                },
                "method" => add(string(value).and_then(|compared| header(":method", compared, false))),
                "authority" => add(string(value).and_then(|compared| header(":authority", compared, false))),
                "headers" => value.members().iter().for_each(|member| {
                    add(string(&member.value).and_then(|compared| header(&member.key, compared, false)));
                }),
                "without_headers" => value.members().iter().for_each(|member| {
                    add(string(&member.value).and_then(|compared| header(&member.key, compared, true)));
                }),
                "query_params" => value.members().iter().for_each(|member| {
                    add(string(&member.value).and_then(|compared| condition::parameter(&member.key, &compared, false)));
                }),
                "ignore_uri_case" | "name" | "gateways" | "stat_prefix" => {}
                "port" => add(Err("`port`: put the filter only in the listeners of that port".to_owned())),
                other => add(Err(format!("`{other}`"))),
            }
        }
        let terms = every(&all).unwrap_or_else(|_| {
            lost.push("conditions on the path that cannot be combined".to_owned());
            vec![Term::default()]
        });
        (terms, lost, matched)
    }

    fn mirrors(&self, route: &Node, remarks: &mut Remarks) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        if let Some(mirror) = route.get("mirror") {
            let fields = ["mirror_percentage", "mirror_percent"];
            let percent = fields.iter().find_map(|field| route.get(field));
            mirrors.extend(self.mirror(mirror, mirror, percent, remarks));
        }
        for mirror in route.get("mirrors").map_or(&[][..], Node::items) {
            match mirror.get("destination") {
                Some(destination) => mirrors.extend(self.mirror(mirror, destination, mirror.get("percentage"), remarks)),
                None => remarks.remark(&self.source.origin(mirror), "not converted: no `destination`"),
            }
        }
        mirrors
    }

    fn mirror(&self, node: &Node, destination: &Node, percent: Option<&Node>, remarks: &mut Remarks) -> Option<Mirror> {
        let origin = self.source.origin(node);
        let percent = match percent {
            None => 100.0,
            // The deprecated field is the number itself.
            Some(percent) => match number(percent).or_else(|| percent.get("value").map_or(Some(0.0), number)) {
                Some(percent) => percent.min(100.0),
                None => {
                    remarks.remark(&origin, "not converted: the percentage is not a number");
                    return None;
                }
            },
        };
        if percent <= 0.0 {
            remarks.note(&origin, "not converted: the rule mirrors 0 %");
            return None;
        }
        let mut said = Vec::new();
        let Some(cluster) = self.cluster(destination, &mut said) else {
            remarks.remark(&origin, "not converted: no `host`");
            return None;
        };
        Some(Mirror { origin, cluster, percent, shape: Shape::default(), remarks: said })
    }

    /// The name that Istio gives to the cluster of a destination.
    fn cluster(&self, destination: &Node, said: &mut Vec<String>) -> Option<String> {
        let host = destination.text_of("host").filter(|host| !host.is_empty())?;
        let host = if host.contains('.') { host.to_owned() } else { format!("{host}.{}.svc.cluster.local", self.namespace) };
        let given = destination.at(&["port", "number"]).and_then(number).map(|port| port.to_string());
        let port = given.or_else(|| self.port_of(&host)).unwrap_or_else(|| {
            said.push(format!(
                "the destination has no port: Istio takes the only port of the service {host}; here 80 is assumed; check it"
            ));
            "80".to_owned()
        });
        let subset = destination.text_of("subset").unwrap_or_default();
        Some(format!("outbound|{port}|{subset}|{host}"))
    }

    fn port_of(&self, host: &str) -> Option<String> {
        let is_it = |(name, namespace, _): &&(String, String, u16)| host == format!("{name}.{namespace}.svc.cluster.local");
        self.known.ports.iter().find(is_it).map(|(.., port)| port.to_string())
    }
}

/// What becomes of requests, as the mirror gets them.
fn said(route: &Node, matched: Option<&Matched>) -> Said {
    let (mut remarks, mut lost) = (Vec::new(), Vec::new());
    let mut request = Request::default();
    if let Some(rewrite) = route.get("rewrite") {
        if let Some(uri) = rewrite.text_of("uri").filter(|uri| !uri.is_empty()) {
            match matched {
                Some(Matched::Text { .. }) => matched.iter().for_each(|matched| request.replace_prefix(matched, uri)),
                Some(Matched::Whole) => request.replace_prefix(&Matched::Whole, uri),
                None => request.replace_prefix(&Matched::Text { text: "/".to_owned(), ignores_case: false }, uri),
            }
        }
        if let Some(pattern) = rewrite.get("uri_regex_rewrite") {
            let text = |field| pattern.text_of(field).unwrap_or_default().to_owned();
            request.regex_rewrite = Some(Pattern { pattern: text("match"), substitution: text("rewrite") });
        }
        if let Some(authority) = rewrite.text_of("authority").filter(|authority| !authority.is_empty()) {
            request.host(&literal(authority), &mut remarks);
        }
    }
    if let Some(problem) = request.problem() {
        lost.push(format!("the rewrite of the path: {problem}"));
        request = Request::default();
    }
    let destinations = route.get("route").map_or(&[][..], Node::items);
    match destinations {
        [only] => change(only.get("headers"), &mut request, &mut remarks),
        several if several.iter().any(|one| one.at(&["headers", "request"]).is_some()) => {
            remarks.push(
                "the mirror gets the headers of the destination that the primary's request goes to; the copy does not".to_owned(),
            );
        }
        _ => {}
    }
    change(route.get("headers"), &mut request, &mut remarks);
    if route.get("fault").is_some() {
        remarks.push(
            "`fault`: aborted requests are not mirrored, but the filter copies them unless it comes after the fault filter"
                .to_owned(),
        );
    }
    let timeout = shape::timeout(
        Some(route.get("timeout").map_or("0s", |timeout| timeout.text().unwrap_or("?"))),
        shape::of_envoy(),
        &mut remarks,
    );
    // That Istio has no timeout is said once, with what is always different.
    remarks.retain(|remark| route.get("timeout").is_some() || !remark.starts_with("the source waits"));
    Said { shape: Shape { timeout, request }, remarks, lost }
}

fn change(headers: Option<&Node>, request: &mut Request, remarks: &mut Vec<String>) {
    let Some(operations) = headers.and_then(|headers| headers.get("request")) else { return };
    for name in operations.get("remove").map_or(&[][..], Node::items).iter().filter_map(Node::text) {
        request.remove(name, remarks);
    }
    for (field, how) in [("set", Put::Instead), ("add", Put::Beside)] {
        for member in operations.get(field).map_or(&[][..], Node::members) {
            request.put(&member.key, member.value.text().unwrap_or_default(), how, remarks);
        }
    }
}

/// Istio's `StringMatch`.
fn string(node: &Node) -> Result<Compared, String> {
    let mut found = Compared::Present;
    for member in node.members() {
        let text = || member.value.text().unwrap_or_default().to_owned();
        found = match member.key.as_str() {
            "exact" => Compared::Exact(text()),
            "prefix" => Compared::Prefix(text()),
            "regex" if text() == "*" => Compared::Present,
            "regex" => Compared::Regex(text()),
            other => return Err(format!("a comparison by `{other}`")),
        };
    }
    Ok(found)
}

/// What is to be taken out of the source when the filter is in place.
pub(super) fn leftovers(service: &VirtualService<'_>) -> Vec<Origin> {
    let fields = service.routes().iter().flat_map(|route| MIRRORS.iter().filter_map(|field| route.get(field)));
    fields.map(|node| service.source.origin(node)).collect()
}

//! Routes of the Gateway API.

use clap::ValueEnum;

use super::condition::{self, Compared, Header, Terms};
use super::envoy_match::{number, snake};
use super::remark::{Origin, Remarks, Source};
use super::shape::{self, literal, Matched, Pattern, Put, Request, Shape};
use super::table::{Entry, Host, Mirror};
use super::term::{every, Term};
use super::text::Domain;
use crate::check::tree::Node;

/// How the clusters of backends are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clusters {
    /// `NAMESPACE-NAME-PORT`: you add the cluster, for example with an EnvoyPatchPolicy of Envoy Gateway
    Own,
    /// `outbound|PORT||NAME.NAMESPACE.svc.cluster.local`: Istio creates it
    Istio,
}

/// An `HTTPRoute` or a `GRPCRoute`, and where it stands.
pub(super) struct Route<'n> {
    pub(super) node: &'n Node,
    pub(super) source: Source,
    pub(super) is_grpc: bool,
}

/// What the Gateway API orders rules by, the first first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    kind: u8,
    shorter: usize,
    without_method: bool,
    fewer_headers: usize,
    fewer_parameters: usize,
    created: String,
    name: String,
}

impl<'n> Route<'n> {
    fn namespace<'a>(&'a self, default: &'a str) -> &'a str {
        self.node.at(&["metadata", "namespace"]).and_then(Node::text).unwrap_or(default)
    }

    fn rules(&self) -> &'n [Node] {
        self.node.at(&["spec", "rules"]).map_or(&[][..], Node::items)
    }

    fn hostnames(&self) -> Vec<&'n str> {
        let hosts = self.node.at(&["spec", "hostnames"]).map_or(&[][..], Node::items);
        let named: Vec<&str> = hosts.iter().filter_map(Node::text).collect();
        if named.is_empty() {
            vec!["*"]
        } else {
            named
        }
    }

    pub(super) fn has_mirrors(&self) -> bool {
        !self.mirror_filters().is_empty()
    }

    fn mirror_filters(&self) -> Vec<&'n Node> {
        let backends = self.rules().iter().flat_map(|rule| rule.get("backend_refs").map_or(&[][..], Node::items));
        self.rules().iter().chain(backends).flat_map(mirrors_of).collect()
    }

    pub(super) fn leftovers(&self) -> Vec<Origin> {
        self.mirror_filters().into_iter().map(|filter| self.source.origin(filter)).collect()
    }

    fn order(&self, matched: Option<&Node>, namespace: &str) -> Order {
        let path = matched.and_then(|node| node.get("path"));
        let method = matched.and_then(|node| node.get("method"));
        let (kind, length) = if self.is_grpc {
            let length = |field| method.and_then(|method| method.text_of(field)).map_or(0, str::len);
            let is_pattern = method.is_some_and(|method| method.text_of("type") == Some("RegularExpression"));
            (u8::from(is_pattern), length("service").saturating_mul(1_024).saturating_add(length("method")))
        } else {
            let kind = match path.and_then(|path| path.text_of("type")) {
                Some("Exact") => 0,
                Some("RegularExpression") => 1,
                _ => 2,
            };
            (kind, path.and_then(|path| path.text_of("value")).map_or(1, |value| value.chars().count()))
        };
        let count = |field| matched.and_then(|node| node.get(field)).map_or(0, |list| list.items().len());
        let text = |field| self.node.at(&["metadata", field]).and_then(Node::text).unwrap_or_default();
        Order {
            kind,
            shorter: usize::MAX - length,
            without_method: self.is_grpc || method.is_none(),
            fewer_headers: usize::MAX - count("headers"),
            fewer_parameters: usize::MAX - count("query_params"),
            created: text("creation_timestamp").to_owned(),
            name: format!("{namespace}/{}", text("name")),
        }
    }
}

/// Entries, and what they are ordered by.
type Entries = Vec<(Order, Entry)>;

fn mirrors_of(node: &Node) -> Vec<&Node> {
    let filters = node.get("filters").map_or(&[][..], Node::items).iter();
    filters.filter(|filter| filter.text_of("type") == Some("RequestMirror") || filter.get("request_mirror").is_some()).collect()
}

/// The hosts of all routes together: routes of one host share its table, the most specific match first.
pub(super) fn hosts(routes: &[Route<'_>], clusters: Clusters, namespace: &str, remarks: &mut Remarks) -> Vec<Host> {
    let mut names: Vec<&str> = routes.iter().flat_map(Route::hostnames).collect();
    names.sort_unstable();
    names.dedup();
    let mut all: Vec<(Vec<&str>, Entries)> = Vec::new();
    for route in routes {
        let namespace = route.namespace(namespace);
        let reader = Reader { route, clusters, namespace };
        let entries = reader.entries(remarks);
        all.push((route.hostnames(), entries));
    }
    let patterns = |entries: &[(Order, Entry)]| entries.iter().filter(|(order, _)| order.kind == 1).count();
    let count: usize = all.iter().map(|(_, entries)| entries.len()).sum();
    if let Some((_, entry)) = all
        .iter()
        .filter(|(_, entries)| count > 1 && patterns(entries) > 0)
        .find_map(|(_, entries)| entries.iter().find(|(order, _)| order.kind == 1))
    {
        remarks.remark(&entry.origin, "the Gateway API does not say whether a RegularExpression comes before other matches; here it comes after Exact and before PathPrefix, as in Envoy Gateway");
    }
    let of = |name: &&str| {
        let mut entries: Vec<(Order, Entry)> =
            all.iter().filter(|(hosts, _)| hosts.contains(name)).flat_map(|(_, entries)| entries.iter().cloned()).collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Host { domains: vec![Domain::of(name)], any_port: true, entries: entries.into_iter().map(|(_, entry)| entry).collect() }
    };
    names.iter().map(of).collect()
}

struct Reader<'r> {
    route: &'r Route<'r>,
    clusters: Clusters,
    namespace: &'r str,
}

impl Reader<'_> {
    fn entries(&self, remarks: &mut Remarks) -> Vec<(Order, Entry)> {
        let mut all = Vec::new();
        for rule in self.route.rules() {
            let matches = rule.get("matches").map_or(&[][..], Node::items);
            let given: Vec<Option<&Node>> = if matches.is_empty() { vec![None] } else { matches.iter().map(Some).collect() };
            let mirrors = self.mirrors(rule, remarks);
            for one in given {
                all.push((self.route.order(one, self.namespace), self.entry(rule, one, &mirrors)));
            }
        }
        all
    }

    fn entry(&self, rule: &Node, matched: Option<&Node>, mirrors: &[Mirror]) -> Entry {
        let origin = self.route.source.origin(matched.unwrap_or(rule));
        let (mut all, mut lost, mut path) = (Vec::new(), Vec::new(), "/".to_owned());
        let mut is_prefix = true;
        for member in matched.map_or(&[][..], Node::members) {
            let mut add = |terms: Terms| match terms {
                Ok(terms) => all.push(terms),
                Err(why) => lost.push(why),
            };
            let value = &member.value;
            let text = value.text().unwrap_or_default();
            match snake(&member.key).as_str() {
                "path" => {
                    path = value.text_of("value").unwrap_or("/").to_owned();
                    let kind = value.text_of("type").unwrap_or("PathPrefix");
                    is_prefix = kind == "PathPrefix";
                    if kind == "RegularExpression" {
                        let (terms, why) = condition::path_or_more(&Compared::Regex(path.clone()), false);
                        all.push(terms);
                        lost.extend(why);
                    } else {
                        add(path_terms(kind, &path));
                    }
                }
                "method" if self.route.is_grpc => add(grpc_method(value)),
                "method" => add(header(":method", Compared::Exact(text.to_owned())).terms()),
                "headers" => value
                    .items()
                    .iter()
                    .for_each(|one| add(named(one).and_then(|(name, compared)| header(&name, compared).terms()))),
                "query_params" => value.items().iter().for_each(|one| {
                    add(named(one).and_then(|(name, compared)| condition::parameter(&name, &compared, false)));
                }),
                other => add(Err(format!("`{other}`"))),
            }
        }
        let terms = every(&all).unwrap_or_else(|_| {
            lost.push("conditions on the path that cannot be combined".to_owned());
            vec![Term::default()]
        });
        if mirrors.is_empty() {
            return Entry { origin, terms, lost, percent: 100.0, mirrors: Vec::new() };
        }
        let mut said = Vec::new();
        let matched = is_prefix.then(|| path.trim_end_matches('/').to_owned());
        let request = changes(rule, matched.as_deref(), &mut said, &mut lost);
        let timeout = rule.at(&["timeouts", "request"]).and_then(Node::text);
        let timeout = shape::timeout(timeout, shape::of_envoy(), &mut said);
        let shape = Shape { timeout, request };
        let mirrors = mirrors.iter().map(|mirror| Mirror {
            shape: shape.clone(),
            remarks: mirror.remarks.iter().chain(&said).cloned().collect(),
            ..mirror.clone()
        });
        Entry { origin, terms, lost, percent: 100.0, mirrors: mirrors.collect() }
    }

    fn mirrors(&self, rule: &Node, remarks: &mut Remarks) -> Vec<Mirror> {
        let is_forwarded = !rule
            .get("filters")
            .map_or(&[][..], Node::items)
            .iter()
            .any(|filter| filter.text_of("type") == Some("RequestRedirect"));
        if !is_forwarded {
            return Vec::new();
        }
        let mut all: Vec<Mirror> =
            mirrors_of(rule).into_iter().filter_map(|filter| self.mirror(filter, 100.0, remarks)).collect();
        let backends = rule.get("backend_refs").map_or(&[][..], Node::items);
        let weight = |backend: &Node| backend.get("weight").map_or(Some(1.0), number).unwrap_or(1.0);
        let total: f64 = backends.iter().map(weight).sum();
        for backend in backends {
            for filter in mirrors_of(backend) {
                let part = if total > 0.0 { weight(backend) * 100.0 / total } else { 0.0 };
                all.extend(self.mirror(filter, part, remarks).map(|mut mirror| {
                    if part < 100.0 {
                        mirror.remarks.push(format!("the source mirrors the requests to one of several backends; here a random {part} % of all requests are copied"));
                    }
                    mirror
                }));
            }
        }
        all
    }

    fn mirror(&self, filter: &Node, part: f64, remarks: &mut Remarks) -> Option<Mirror> {
        let origin = self.route.source.origin(filter);
        let mirror = filter.get("request_mirror");
        let backend = mirror.and_then(|mirror| mirror.get("backend_ref"));
        let name = backend.and_then(|backend| backend.text_of("name"));
        let (Some(mirror), Some(backend), Some(name)) = (mirror, backend, name) else {
            remarks.remark(&origin, "not converted: no `backendRef` with a `name`");
            return None;
        };
        let mut said = Vec::new();
        let percent = mirror.get("percent").map(number);
        let fraction = mirror.get("fraction").map(|fraction| {
            let numerator = fraction.get("numerator").and_then(number)?;
            let denominator = fraction.get("denominator").map_or(Some(100.0), number)?;
            (denominator > 0.0).then(|| (numerator * 100.0 / denominator).min(100.0))
        });
        let percent = match percent.or(fraction).unwrap_or(Some(100.0)) {
            Some(percent) => percent.min(100.0) * part / 100.0,
            None => {
                remarks.remark(&origin, "not converted: a percentage or a fraction that cannot be read");
                return None;
            }
        };
        if percent <= 0.0 {
            remarks.note(&origin, "not converted: the filter mirrors 0 %");
            return None;
        }
        let kind = backend.text_of("kind").unwrap_or("Service");
        if kind != "Service" {
            said.push(format!("the backend is a {kind}; the name of the cluster is made as for a Service"));
        }
        let namespace = backend.text_of("namespace").unwrap_or(self.namespace);
        let port = backend.get("port").and_then(number).unwrap_or_else(|| {
            said.push("the backend has no port: 80 is assumed; check it".to_owned());
            80.0
        });
        let cluster = match self.clusters {
            Clusters::Own => format!("{namespace}-{name}-{port}"),
            Clusters::Istio => format!("outbound|{port}||{name}.{namespace}.svc.cluster.local"),
        };
        Some(Mirror { origin, cluster, percent, shape: Shape::default(), remarks: said })
    }
}

fn header(name: &str, compared: Compared) -> Header {
    Header { name: name.to_owned(), compared, ignores_case: false, is_inverted: false, absent_is_empty: false }
}

fn path_terms(kind: &str, value: &str) -> Terms {
    match kind {
        "Exact" => condition::path(&Compared::Exact(value.to_owned()), false),
        "PathPrefix" => match value.trim_end_matches('/') {
            "" => Ok(vec![Term::default()]),
            prefix => condition::segments(prefix, false),
        },
        other => Err(format!("a path of the type {other}")),
    }
}

/// A header or a parameter.
fn named(node: &Node) -> Result<(String, Compared), String> {
    let text =
        |field| node.text_of(field).map(str::to_owned).ok_or_else(|| format!("a condition without `{field}` that is text"));
    let (name, value) = (text("name")?, text("value")?);
    match node.text_of("type").unwrap_or("Exact") {
        "Exact" => Ok((name, Compared::Exact(value))),
        "RegularExpression" => Ok((name, Compared::Regex(value))),
        other => Err(format!("{name} of the type {other}")),
    }
}

/// A method of gRPC, which is a path.
fn grpc_method(node: &Node) -> Terms {
    let is_pattern = node.text_of("type") == Some("RegularExpression");
    match (node.text_of("service"), node.text_of("method")) {
        (None, None) => Ok(vec![Term::default()]),
        (Some(service), Some(method)) if !is_pattern => condition::path(&Compared::Exact(format!("/{service}/{method}")), false),
        (Some(service), None) if !is_pattern => condition::path(&Compared::Prefix(format!("/{service}/")), false),
        (service, method) => {
            let part = |text: Option<&str>| {
                text.map_or(
                    "[^/]+".to_owned(),
                    |text| if is_pattern { format!("(?:{text})") } else { super::text::escaped(text) },
                )
            };
            condition::path(&Compared::Regex(format!("/{}/{}", part(service), part(method))), false)
        }
    }
}

/// What the filters of a rule change. The Gateway API does not say whether the mirror gets it; in Envoy it does.
fn changes(rule: &Node, prefix: Option<&str>, said: &mut Vec<String>, lost: &mut Vec<String>) -> Request {
    let mut request = Request::default();
    for filter in rule.get("filters").map_or(&[][..], Node::items) {
        match filter.text_of("type").unwrap_or_default() {
            "URLRewrite" => rewrite(filter.get("url_rewrite"), prefix, &mut request, said, lost),
            "RequestHeaderModifier" => {
                let modifier = filter.get("request_header_modifier");
                let list = |field| modifier.and_then(|modifier| modifier.get(field)).map_or(&[][..], Node::items);
                list("remove").iter().filter_map(Node::text).for_each(|name| request.remove(name, said));
                for (field, how) in [("set", Put::Instead), ("add", Put::Beside)] {
                    for header in list(field) {
                        let (Some(name), Some(value)) = (header.text_of("name"), header.text_of("value")) else { continue };
                        request.put(name, value, how, said);
                    }
                }
            }
            "ExtensionRef" => said.push("`ExtensionRef`: the copy may not have the changes of the extension".to_owned()),
            _ => {}
        }
    }
    let backends = rule.get("backend_refs").map_or(&[][..], Node::items);
    let is_changed = |backend: &Node| {
        let filters = backend.get("filters").map_or(&[][..], Node::items);
        filters.iter().any(|filter| matches!(filter.text_of("type"), Some("RequestHeaderModifier" | "URLRewrite")))
    };
    if backends.iter().any(is_changed) {
        said.push("filters of `backendRefs` change the primary's and the mirror's request, but not the copy".to_owned());
    }
    request
}

fn rewrite(rewrite: Option<&Node>, prefix: Option<&str>, request: &mut Request, said: &mut Vec<String>, lost: &mut Vec<String>) {
    let Some(rewrite) = rewrite else { return };
    if let Some(host) = rewrite.text_of("hostname") {
        request.host(&literal(host), said);
    }
    let Some(path) = rewrite.get("path") else { return };
    let replaced = |field| path.text_of(field).unwrap_or_default();
    match (path.text_of("type"), prefix) {
        (Some("ReplaceFullPath"), _) => request.replace_prefix(&Matched::Whole, replaced("replace_full_path")),
        (Some("ReplacePrefixMatch"), Some(prefix)) => match replaced("replace_prefix_match").trim_end_matches('/') {
            "" if prefix.is_empty() => {}
            // Nothing stands before the rest, which begins with a slash of its own.
            "" => {
                let pattern = format!("^{}/*", super::text::escaped(prefix));
                request.regex_rewrite = Some(Pattern { pattern, substitution: "/".to_owned() });
            }
            replacement if prefix.is_empty() => {
                let substitution = format!("{}/", replacement.replace('\\', r"\\"));
                request.regex_rewrite = Some(Pattern { pattern: "^/".to_owned(), substitution });
            }
            replacement => request.replace_prefix(&Matched::Text { text: prefix.to_owned(), ignores_case: false }, replacement),
        },
        _ => lost.push("`URLRewrite` of the path, with a match that is not a prefix or has an unknown type".to_owned()),
    }
    if let Some(problem) = request.problem() {
        lost.push(format!("the rewrite of the path: {problem}"));
        *request = Request::default();
    }
}

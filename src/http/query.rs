//! Query parameters.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::http::work_limit::{Work, QUERY_BYTE};

/// The parameters of one query, parsed on first use. Keeps the first value of each name. Decodes like HTML forms: `+` is a space.
#[derive(Debug, Default)]
pub struct Query {
    first: OnceCell<BTreeMap<String, String>>,
}

impl Query {
    /// The first parameter with this name. `query` must be the same in all calls.
    pub fn get(&self, query: &[u8], name: &str, work: &Work) -> Option<&str> {
        let read = || {
            let mut first = BTreeMap::new();
            if work.spend(query.len().saturating_mul(QUERY_BYTE)).is_ok() {
                for (name, value) in form_urlencoded::parse(query) {
                    if !first.contains_key(&*name) {
                        first.insert(name.into_owned(), value.into_owned());
                    }
                }
            }
            first
        };
        self.first.get_or_init(read).get(name).map(String::as_str)
    }
}

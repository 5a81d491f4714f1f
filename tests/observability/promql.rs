//! What an expression refers to.

use std::collections::BTreeSet;

use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{walk_expr, ExprVisitor};

struct Names(BTreeSet<String>);

impl Names {
    fn note(&mut self, selector: &VectorSelector) {
        self.0.extend(selector.name.clone());
    }
}

impl ExprVisitor for Names {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
        match expression {
            Expr::VectorSelector(selector) => self.note(selector),
            Expr::MatrixSelector(selector) => self.note(&selector.vs),
            _ => {}
        }
        Ok(true)
    }
}

/// The metrics that an expression names.
pub(crate) fn metrics(expression: &str) -> BTreeSet<String> {
    let parsed = parser::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut names = Names(BTreeSet::new());
    walk_expr(&mut names, &parsed).unwrap();
    names.0
}

#[test]
fn every_metric_of_an_expression_is_found() {
    let expression = "sum by (a) (rate(one[5m])) / (two{b=\"c\"} > 0) or max_over_time((three + on (d) group_left () four)[5m:1m]) unless -five";
    assert_eq!(metrics(expression).into_iter().collect::<Vec<_>>(), ["five", "four", "one", "three", "two"]);
}

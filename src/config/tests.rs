use super::*;

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text.as_bytes(), &|name| (name == "SECRET").then(|| "s".to_owned())) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| problem.to_string()).collect(),
    }
}

//! Several claims about one Envoy.

/// Says which of several claims about one Envoy failed.
pub(crate) struct Claim(pub(crate) &'static str);

impl Drop for Claim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the claim that failed: {} ----", self.0);
        }
    }
}

/// Makes claims about one stage, one after the other, each on the stage as it was at its start. An Envoy takes longer to start than to answer
/// all requests of a claim. Each claim is an `async fn` that is named after what it claims; a failure says which it was.
macro_rules! claims {
    ($stage:expr, $($claim:ident),+ $(,)?) => {{
        let stage = $stage;
        $(
            stage.anew().await;
            let claim = crate::claims::Claim(stringify!($claim));
            $claim(&stage).await;
            drop(claim);
        )+
    }};
}

pub(crate) use claims;

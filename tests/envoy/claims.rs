//! Several claims about one Envoy.

/// Makes claims about one stage, one after the other, each on the stage as it was at its start. An Envoy takes longer to start than to answer
/// all requests of a claim. Each claim is an `async fn` that is named after what it claims; a failure says which it was.
macro_rules! claims {
    ($stage:expr, $($claim:ident),+ $(,)?) => {{
        let stage = $stage;
        $(
            stage.anew().await;
            $crate::stage::named(stringify!($claim), $claim(&stage)).await;
        )+
    }};
}

pub(crate) use claims;

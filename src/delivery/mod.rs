//! The life of a copy once a target wants it: admission, batches, rate limit, circuit breaker, outcome, retries, dead letters. The types are small
//! and pure: time and randomness are arguments.
//!
//! Uses `rewrite`, `template`, `json` and `http`. Begin with [`outcome`].

/// An enum with a name for each variant, for statistics and logs. A variant cannot be missing in `ALL`, or have no name.
macro_rules! named {
    ($(#[$about:meta])* $enum:ident { $($(#[$doc:meta])* $variant:ident: $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $enum {
            $($(#[$doc])* $variant,)*
        }

        impl $enum {
            /// All variants, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in statistics and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

pub mod admission;
pub mod arrivals;
pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod cause;
pub mod dead_letter;
pub mod drop_reason;
pub mod key_order;
pub mod outcome;
pub mod rate_limit;
pub mod retry;
pub mod retry_budget;
pub mod retry_condition;
pub mod trigger;

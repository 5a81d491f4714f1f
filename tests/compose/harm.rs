//! What can happen to a container.

use crate::composition::{compose, container, crash, docker, healthy, inspect, network, tell};
use crate::support::eventually::{eventually, PATIENCE};

/// Something that befalls a target.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// Its program is told to behave so.
    Told(&'static str),
    /// Its program ends by itself, with a failure; the engine starts it again.
    Crashed,
    /// SIGTERM.
    Stopped,
    /// SIGKILL.
    Killed,
    /// Taken off its network: packets vanish, and its name with them.
    CutOff,
    /// Frozen: its kernel takes connections, nobody answers.
    Paused,
}

impl Harm {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Told("503"),
        Self::Told("hang"),
        Self::Told("reset"),
        Self::Crashed,
        Self::Stopped,
        Self::Killed,
        Self::CutOff,
        Self::Paused,
    ];

    /// Does it.
    pub(crate) async fn inflict(self, service: &str) {
        let container = container(service).await;
        match self {
            Self::Told(behaviour) => tell(service, behaviour).await,
            Self::Crashed => crash(service).await,
            Self::Stopped => {
                compose(&["stop", service]).await;
                assert_eq!(inspect(service, "{{.State.ExitCode}}").await, "0", "{service} heeds SIGTERM");
            }
            Self::Killed => {
                compose(&["kill", service]).await;
            }
            Self::CutOff => {
                docker(&["network", "disconnect", &network("mirrors"), &container]).await;
            }
            Self::Paused => {
                compose(&["pause", service]).await;
            }
        }
    }

    /// Ends it. What happens after a crash is up to the engine.
    pub(crate) async fn undo(self, service: &str) {
        match self {
            Self::Told(_) => tell(service, "200").await,
            Self::Crashed => {
                // First, because until then its health is that of before.
                eventually(PATIENCE, "a restart by the engine", async || {
                    let restarts = inspect(service, "{{.RestartCount}}").await;
                    if restarts == "0" {
                        Err(restarts)
                    } else {
                        Ok(())
                    }
                })
                .await;
                healthy(service).await;
            }
            Self::Stopped | Self::Killed => {
                compose(&["start", service]).await;
            }
            Self::CutOff => {
                docker(&["network", "connect", "--alias", service, &network("mirrors"), &container(service).await]).await;
            }
            Self::Paused => {
                compose(&["unpause", service]).await;
            }
        }
    }
}

//! Replays that end in the middle, and what those after them do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

use super::{keys, letter, lines, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::eventually::{eventually, PATIENCE};
use crate::tool::{ended, start};

const COUNT: usize = 60;

async fn scene() -> Scene {
    let scene = Scene::new().await;
    let letters: Vec<_> = (0..COUNT).map(|number| letter(&format!("i{number}"), number, "/")).collect();
    scene.write("letters", lines(&letters));
    scene
}

fn begin(scene: &Scene, more: &[&str]) -> Child {
    start(scene.path(), &[&["replay", "letters", "--to", &scene.url(), "--concurrency", "4"], more].concat(), &[])
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_and_begun_again_loses_none_and_doubles_no_more_than_were_under_way() {
    let scene = scene().await;
    scene.target.behave(Behaviour::Answer(Answer::status(200).after(Duration::from_millis(5))));
    let mut child = begin(&scene, &[]);
    scene.target.arrived(COUNT / 3).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let before = scene.target.received().len();
    assert!(before < COUNT, "it ended too early to be killed");
    // What a line of the journal is torn to, if the machine fails.
    let journal = scene.read("sidecast-replay.journal");
    let named = journal.lines().count() - 1;
    assert!(before <= named + 4, "{before} arrived, and {named} are in the journal");
    scene.write("sidecast-replay.journal", format!("{journal}{{\"target\":\"audit\",\"id\":\"i5"));
    let again = ended(begin(&scene, &[]));
    assert_eq!(again.out, format!("{} sent, {named} already in the journal\n", COUNT - named), "{}", again.err);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for key in keys(&scene.target.received()) {
        *times.entry(key).or_default() += 1;
    }
    let doubled = times.values().filter(|times| **times > 1).count();
    assert!(times.len() == COUNT && doubled <= 4, "{times:?}");
    let third = ended(begin(&scene, &[]));
    assert_eq!((third.status, third.out), (0, format!("0 sent, {COUNT} already in the journal\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_what_is_under_way_end_and_a_second_one_does_not() {
    let scene = scene().await;
    let gate = Gate::shut();
    scene.target.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let mut child = begin(&scene, &["--timeout", "60s"]);
    scene.target.arrived(4).await;
    let other = ended(begin(&scene, &[]));
    assert_eq!(other.status, 2);
    assert!(other.err.contains("another `sidecast replay` uses this file"), "{}", other.err);
    signal(&child, Signal::TERM);
    let said = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(said.contains("stopping"), "{said}");
    gate.open();
    let ran = ended(child);
    assert_eq!((ran.status, ran.out.as_str()), (1, "4 sent, 56 left\n"), "{}", ran.err);
    assert_eq!(scene.target.take(4).await.len(), 4);

    scene.target.behave(Behaviour::Hang);
    let mut child = begin(&scene, &["--timeout", "60s"]);
    scene.target.arrived(4).await;
    let status = eventually(PATIENCE, "the tool to end", async || {
        signal(&child, Signal::INT);
        child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
    })
    .await;
    assert_eq!(status.code(), Some(130));
}

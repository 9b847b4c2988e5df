//! The controllers against a real kube-apiserver.
//!
//! `CHECKSTACK_TEST_KUBECONFIG` names the kubeconfig of an administrator; `tests/cluster/cluster up
//! --mode control-plane` makes such a cluster. There is no kubelet: Pods are objects whose address is
//! one of this machine, where a small server speaks the control API ([`core`]). The operator runs in
//! this process, with exactly the rights of `rbac.rs`, in a namespace of its own for each test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "these are tests"
)]

mod cluster;
mod core;
mod operator;
mod packages;
mod source;

mod deletion;
mod drift;
mod encryption;
mod instances;
mod leadership;
mod pods;
mod process;
mod restart;
mod rollback;
mod rotation;
mod scope;
mod sources;
mod steady_state;
mod strategy;
mod thin_path;

//! Which namespaces the operator looks after.

use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// One set of watches: the whole cluster, or one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    Cluster,
    /// One of those that were listed.
    Namespace(String),
}

impl Scope {
    /// The scopes for `--namespace a,b`; none listed is the whole cluster.
    pub fn from_namespaces(namespaces: &[String]) -> Vec<Self> {
        let mut listed: Vec<String> = namespaces.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        listed.sort();
        listed.dedup();
        match listed.is_empty() {
            true => vec![Self::Cluster],
            false => listed.into_iter().map(Self::Namespace).collect(),
        }
    }

    /// Access to the objects of a kind.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => formatter.write_str("all namespaces"),
            Self::Namespace(namespace) => write!(formatter, "namespace {namespace}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_is_the_whole_cluster() {
        assert_eq!(Scope::from_namespaces(&[]), [Scope::Cluster]);
        assert_eq!(Scope::from_namespaces(&[" ".into()]), [Scope::Cluster]);
    }

    #[test]
    fn a_namespace_listed_twice_is_watched_once() {
        let scopes = Scope::from_namespaces(&["b".into(), "a".into(), " b".into()]);
        assert_eq!(scopes, [Scope::Namespace("a".into()), Scope::Namespace("b".into())]);
    }
}

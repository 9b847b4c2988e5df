//! Everybody is an admin: on the own machine of a developer, and nowhere else.

use serde_json::{Value, json};

use crate::identity::Caller;
use crate::process::Pod;

const WARNING: &str = "EVERYBODY WHO REACHES THIS SERVER IS AN ADMIN";

async fn on_the_own_machine() -> Pod {
    Pod::new().await.without("CHECKSTACK_POD_NAME").with("CHECKSTACK_DEV_AUTH", "true")
}

#[tokio::test]
async fn a_developer_is_an_admin_and_is_warned() {
    let pod = on_the_own_machine().await;
    for _ in 0..2 {
        let mut server = pod.serve();
        pod.until_ready().await;
        let me = Caller::nobody(&pod).done("whoAmI", Value::Null).await;
        assert_eq!((&me["id"], &me["accessRules"]), (&json!("dev-user"), &json!(["*"])));
        assert!(server.terminate().success());
        let log = server.log();
        assert!(log.lines().any(|line| line.contains(WARNING) && line.contains(r#""level":"WARN""#)), "{log}");
    }
}

#[tokio::test]
async fn what_would_be_production_does_not_start() {
    let in_a_cluster = on_the_own_machine().await.with("KUBERNETES_SERVICE_HOST", "10.96.0.1");
    let of_the_operator = Pod::new().await.with("CHECKSTACK_DEV_AUTH", "true");
    let reachable = on_the_own_machine().await.with("CHECKSTACK_LISTEN", "0.0.0.0:0");
    for (pod, why) in [
        (in_a_cluster, "refused in a cluster, which this is (KUBERNETES_SERVICE_HOST is set)"),
        (of_the_operator, "refused in a cluster, which this is (CHECKSTACK_POD_NAME is set)"),
        (reachable, "refused with the address 0.0.0.0:0, which others may reach"),
    ] {
        let (status, log) = pod.serve().ended();
        assert_eq!(status.code(), Some(1));
        let errors: Vec<&str> = log.lines().filter(|line| line.contains(r#""level":"ERROR""#)).collect();
        assert!(errors.len() == 1 && errors[0].contains(why) && !log.contains(WARNING), "{log}");
    }
    // It is not there unless it is asked for.
    let pod = Pod::new().await.with("CHECKSTACK_DEV_AUTH", "false");
    let _server = pod.serve();
    pod.until_ready().await;
    assert_eq!(Caller::nobody(&pod).call_of("auth", "whoAmI", Value::Null).await.0, 401);
}

//! Plugins that call each other: every call knows its place in the chain, wherever it is run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use async_trait::async_trait;
use checkstack_platform::plugin::{CallFailure, MAX_CALL_DEPTH, PeerPlugins, Plugin, PluginRequest, PluginResponse, PluginServices};
use checkstack_plugin_package::PluginId;

use crate::fixture::{Sandbox, ask, id, services, settings};
use crate::guest::{self, Guest};

/// Leads every call back to the one plugin there is, and ends a chain as the platform does.
#[derive(Default)]
struct Circle {
    plugin: OnceLock<Weak<dyn Plugin>>,
    /// Depth, and the thread that the call came from.
    calls: Mutex<Vec<(u8, String)>>,
}

#[async_trait]
impl PeerPlugins for Circle {
    async fn call(&self, target: &PluginId, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.calls.lock().unwrap().push((request.depth, thread));
        if request.depth >= MAX_CALL_DEPTH {
            return Err(CallFailure::TooDeep(target.clone()));
        }
        let plugin = self.plugin.get().and_then(Weak::upgrade).ok_or_else(|| CallFailure::NotRunning(target.clone()))?;
        plugin.handle(request).await
    }
}

impl Circle {
    fn services(self: &Arc<Self>) -> PluginServices {
        PluginServices { peers: self.clone(), dependencies: Arc::new(BTreeMap::from([(id("self"), "*".to_owned())])), ..services() }
    }

    fn close(&self, plugin: &Arc<dyn Plugin>) {
        self.plugin.set(Arc::downgrade(plugin)).unwrap();
    }

    fn depths(&self) -> Vec<u8> {
        self.calls.lock().unwrap().iter().map(|(depth, _)| *depth).collect()
    }
}

#[tokio::test]
async fn a_circle_through_the_background_ends() {
    let sandbox = Sandbox::new();
    let circle = Arc::new(Circle::default());
    let plugin = sandbox.start(&guest::plain(), circle.services()).await;
    circle.close(&plugin);
    let failure = CallFailure::TooDeep(id("self")).to_string();
    assert_eq!(ask(&plugin, "/P", "self").await, (502, failure), "what the last is told, each passes on");
    assert_eq!(circle.depths(), [1, 2, 3, 4, 5, 6, 7, 8]);
    for (depth, thread) in circle.calls.lock().unwrap().iter() {
        assert_eq!(thread, "plugin-background", "at depth {depth}");
    }
}

#[tokio::test]
async fn what_init_asks_for_is_a_part_of_the_chain_that_needed_the_instance() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 16;
    let sandbox = Sandbox::with(settings);
    let circle = Arc::new(Circle::default());
    // Asks "self" for "/e", whatever the answer.
    let init = "(call $peer_call (i32.const 2070) (i32.const 4) (i32.const 2048) (i32.const 3) (i32.const 2060) (i32.const 2)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3400))
        (call $done)";
    let plugin = sandbox.start(&Guest::default().init(init).component(), circle.services()).await;
    assert_eq!(circle.depths(), [1]);
    circle.close(&plugin);
    assert_eq!(ask(&plugin, "/p", "self").await, (200, "self".to_owned()));
    assert_eq!(circle.depths(), [1, 1, 2, 3, 4, 5, 6, 7, 8]);
}

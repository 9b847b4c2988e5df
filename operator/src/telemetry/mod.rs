//! What the operator tells about itself: logs, metrics, and whether it is alive and ready.

mod http;
mod logging;
mod metrics;

pub use http::{Health, serve};
pub use logging::{LogFormat, init_logging};
pub use metrics::{ControllerName, ErrorClass, FetchSource, Inventory, Metrics, PluginStateName, PodCall, ReconcileResult};

//! stub
use super::{Lab, LabError};
pub(crate) async fn run(_lab: &mut Lab) -> Result<(), LabError> { Ok(()) }

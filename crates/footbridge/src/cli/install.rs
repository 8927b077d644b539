//! `footbridge install`: puts the plugin and the network's configuration where a container runtime looks for them.
//!
//! Each file appears whole or not at all: written aside in its directory, synced, renamed. The program comes before the
//! configuration, by which a runtime begins to call it. What was there before is replaced; other files are let be.

use super::{fail, print};
use crate::lab::record::{RUN, STATE};
use clap::Args;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The plugin's name, in the configuration and in the runtime's directory.
const PLUGIN: &str = "footbridge";
/// The configuration's; runtimes take the first in the order of names.
const CONFIG: &str = "10-footbridge.conflist";
/// What is longer is no configuration.
const MAX_CONFIG: u64 = 1 << 20;
/// Others' plugins that are chained behind ours where they are installed, and the capability of each.
const CHAINED: [(&str, &str); 2] = [("portmap", "portMappings"), ("bandwidth", "bandwidth")];

/// Install the CNI plugin and its configuration for a container runtime.
///
/// Copies this program, then writes the configuration, each whole or not at all. May be repeated at any time, also while
/// a runtime calls the plugin. Exit status 0 when both are in place.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the runtime's plugins are
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// Where the runtime's network configurations are
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,
    /// The configuration list to install [default: one for the directories below, with portmap and
    /// bandwidth where they are in --bin-dir]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run_dir", "state_dir", "cni_version"])]
    config: Option<PathBuf>,
    /// The CNI version of the configuration: one that the runtime and all plugins of the list know
    #[arg(long, value_name = "VERSION", default_value = "1.0.0", value_parser = version)]
    cni_version: footbridge_cni::Version,
    /// The agent's --run-dir
    #[arg(long, value_name = "DIR", default_value = RUN)]
    run_dir: PathBuf,
    /// The agent's --state-dir
    #[arg(long, value_name = "DIR", default_value = STATE)]
    state_dir: PathBuf,
}

/// What could not be installed.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("can't {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is no configuration list of this plugin: {why}", path.display())]
    Config { path: PathBuf, why: String },
}

fn version(text: &str) -> Result<footbridge_cni::Version, footbridge_cni::Error> {
    footbridge_cni::Version::parse(text)
}

impl Arguments {
    /// Install both.
    pub(crate) fn run(self) -> ExitCode {
        match self.install() {
            Ok(lines) => print(&lines),
            Err(error) => fail(&error, 1),
        }
    }

    fn install(self) -> Result<String, InstallError> {
        // Read first: what can't be used must replace nothing.
        let config = match &self.config {
            Some(path) => read_config(path)?,
            None => {
                let is_there = |plugin: &str| self.bin_dir.join(plugin).is_file();
                pretty(&conflist(&self, is_there))
            }
        };
        let program = Path::new("/proc/self/exe");
        let failed = |source| InstallError::Io { what: "read", path: program.to_owned(), source };
        let mut program = File::open(program).map_err(failed)?;
        let (plugin, list) = (self.bin_dir.join(PLUGIN), self.conf_dir.join(CONFIG));
        put(&plugin, &mut program, 0o755)?;
        put(&list, &mut config.as_bytes(), 0o644)?;
        Ok(format!("installed {}\ninstalled {}\n", plugin.display(), list.display()))
    }
}

/// The configuration list for these directories, with others' plugins as far as they are there.
fn conflist(arguments: &Arguments, is_there: impl Fn(&str) -> bool) -> Value {
    let mut plugin = json!({"type": PLUGIN, "capabilities": {"mac": true}});
    for (key, directory, default) in
        [("runDir", &arguments.run_dir, RUN), ("stateDir", &arguments.state_dir, STATE)]
    {
        if directory != Path::new(default) {
            plugin[key] = json!(directory);
        }
    }
    let chained = CHAINED.iter().filter(|(plugin, _)| is_there(plugin));
    let chained =
        chained.map(|(plugin, capability)| json!({"type": plugin, "capabilities": {*capability: true}}));
    let plugins: Vec<Value> = std::iter::once(plugin).chain(chained).collect();
    json!({"cniVersion": arguments.cni_version.text(), "name": PLUGIN, "plugins": plugins})
}

/// A configuration list that names our plugin.
fn read_config(path: &Path) -> Result<String, InstallError> {
    let failed = |source| InstallError::Io { what: "read", path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_CONFIG).read_to_string(&mut text).map_err(failed)?;
    let wrong = |why: String| InstallError::Config { path: path.to_owned(), why };
    let list: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let said = list["cniVersion"].as_str().unwrap_or_default();
    footbridge_cni::Version::parse(said).map_err(|error| wrong(error.to_string()))?;
    let plugins = list["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    match plugins.iter().any(|plugin| plugin["type"] == PLUGIN) {
        true => Ok(text),
        false => Err(wrong(format!("none of its plugins is of type {PLUGIN}"))),
    }
}

fn pretty(list: &Value) -> String {
    format!("{list:#}\n")
}

/// Let `path` be what `from` holds, whole.
fn put(path: &Path, from: &mut impl Read, mode: u32) -> Result<(), InstallError> {
    let error = |what, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { what, path, source }
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(error("make", directory))?;
    // A runtime takes no file for a configuration or a plugin that begins with a dot.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = directory.join(format!(".{name}.{}", std::process::id()));
    let written = File::create(&aside).and_then(|mut file| {
        io::copy(from, &mut file)?;
        file.flush()?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    });
    let moved =
        written.and_then(|()| fs::rename(&aside, path)).and_then(|()| File::open(directory)?.sync_all());
    if moved.is_err() {
        // It says better what went wrong than that this is left.
        drop(fs::remove_file(&aside));
    }
    moved.map_err(error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            bin_dir: "/opt/cni/bin".into(),
            conf_dir: "/etc/cni/net.d".into(),
            config: None,
            cni_version: footbridge_cni::Version::V1_0_0,
            run_dir: RUN.into(),
            state_dir: STATE.into(),
        }
    }

    #[test]
    fn only_plugins_that_are_there_are_chained() {
        let plugins = |there: &[&str]| {
            let list = conflist(&arguments(), |plugin| there.contains(&plugin));
            let plugins = list["plugins"].as_array().unwrap().clone();
            plugins.iter().map(|plugin| plugin["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(plugins(&[]), ["footbridge"]);
        assert_eq!(plugins(&["portmap", "bridge"]), ["footbridge", "portmap"]);
        assert_eq!(plugins(&["bandwidth", "portmap"]), ["footbridge", "portmap", "bandwidth"]);
    }

    #[test]
    fn directories_are_said_only_where_they_are_not_the_plugins_own() {
        let plugin = |arguments: &Arguments| conflist(arguments, |_| false)["plugins"][0].clone();
        assert_eq!(plugin(&arguments()), json!({"type": "footbridge", "capabilities": {"mac": true}}));
        let elsewhere = Arguments { run_dir: "/run/elsewhere".into(), ..arguments() };
        assert_eq!(plugin(&elsewhere)["runDir"], "/run/elsewhere");
    }

    #[test]
    fn a_list_without_our_plugin_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            read_config(&path).map_err(|error| error.to_string())
        };
        let bridge = r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"}]}"#;
        assert!(refused(bridge).unwrap_err().contains("none of its plugins is of type footbridge"));
        assert!(refused("{").unwrap_err().contains("is no configuration list"));
        assert!(refused(r#"{"cniVersion":"2.0.0","plugins":[]}"#).unwrap_err().contains("'2.0.0'"));
        let ours = bridge.replace("bridge", "footbridge");
        assert_eq!(refused(&ours), Ok(ours));
    }
}

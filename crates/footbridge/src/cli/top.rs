//! `footbridge top`: flows and drops of a running bridge by rate.

use crate::cli::{fail, print, show};
use crate::top::Sample;
use clap::Args;
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use crossterm::{cursor, execute, terminal};
use footbridge_switch::control::Client;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Print flows and drops by rate, as they pass. `q` ends it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: show::Which,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// Print what passes in one interval, and end: for scripts (as --json does)
    #[arg(long)]
    once: bool,
}

impl Arguments {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        let once = self.once || self.which.json;
        let done = match once {
            true => self.look_once().map(|text| print(&text)),
            false if !io::stdout().is_terminal() => Err("standard output is no terminal: give --once".into()),
            false => self.look_on().map(|()| ExitCode::SUCCESS),
        };
        done.unwrap_or_else(|error| fail(&error, 1))
    }

    fn look_once(&self) -> Result<String, Box<dyn Error>> {
        let mut client = Client::connect(&self.which.socket())?;
        let first = Sample::take(&mut client)?;
        std::thread::sleep(self.pause());
        let rates = Sample::take(&mut client)?.since(&first);
        Ok(match self.which.json {
            true => serde_json::to_string_pretty(&rates)? + "\n",
            false => rates.text(None),
        })
    }

    fn look_on(&self) -> Result<(), Box<dyn Error>> {
        let mut client = Client::connect(&self.which.socket())?;
        let mut before = Sample::take(&mut client)?;
        let _screen = Screen::take()?;
        while !self.is_told_to_end()? {
            let now = Sample::take(&mut client)?;
            let (columns, lines) = terminal::size()?;
            let text = now.since(&before).text(Some((columns.into(), lines.into())));
            let mut out = io::stdout().lock();
            execute!(out, cursor::MoveTo(0, 0), terminal::Clear(terminal::ClearType::All))?;
            // In raw mode a line's end does not go back to its begin.
            out.write_all(text.replace('\n', "\r\n").as_bytes())?;
            out.flush()?;
            before = now;
        }
        Ok(())
    }

    /// Wait for the next look; true where a key ends it.
    fn is_told_to_end(&self) -> io::Result<bool> {
        let until = Instant::now() + self.pause();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !event::poll(left)? {
                return Ok(false);
            }
            if let Event::Key(key) = event::read()? {
                let is_break =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if is_break || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_secs_f64(self.interval)
    }
}

/// The terminal, ours until dropped.
struct Screen;

impl Screen {
    fn take() -> io::Result<Screen> {
        terminal::enable_raw_mode()?;
        let screen = Screen;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody left to tell when the terminal is gone.
        let _restored = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _restored = terminal::disable_raw_mode();
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected 0.1 to 3600".to_owned()),
    }
}

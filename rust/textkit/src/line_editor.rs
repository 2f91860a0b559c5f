//! Lines that a person types at a terminal: edited, remembered and completed, by `rustyline`.

use std::fs;
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

pub enum Read {
    Line(String),
    Interrupted, // Ctrl-C: what was typed is dropped
    End,         // Ctrl-D
}

pub struct LineEditor {
    editor: Editor<Commands, FileHistory>,
    history: Option<PathBuf>,
}

const KEPT_LINES: usize = 1000;

impl LineEditor {
    /// `history`: the file that remembers lines, "" for none; one that cannot be read or written is
    /// done without. `commands`: those that are completed, one a line; behind one that ends in a
    /// space follows the name of a file.
    pub fn new(history: &str, commands: &str) -> Result<LineEditor, String> {
        let config = Config::builder()
            .max_history_size(KEPT_LINES)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(|e| e.to_string())?
            .history_ignore_space(true)
            .auto_add_history(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config).map_err(|e| e.to_string())?;
        editor.set_helper(Some(Commands(commands.lines().map(str::to_string).collect())));
        let history = (!history.is_empty()).then(|| PathBuf::from(history));
        if let Some(file) = &history {
            if let Some(folder) = file.parent() {
                let _ = fs::create_dir_all(folder);
            }
            let _ = editor.load_history(file);
        }
        Ok(LineEditor { editor, history })
    }

    /// Waits for a line. A backslash at the end of one lets it go on in the next.
    pub fn read(&mut self, prompt: &str, styled_prompt: &str) -> Result<Read, String> {
        loop {
            return match self.editor.readline(&(prompt, styled_prompt)) {
                Ok(line) => {
                    if let Some(file) = &self.history {
                        let _ = self.editor.append_history(file);
                    }
                    Ok(Read::Line(line.replace("\\\n", "\n")))
                }
                Err(ReadlineError::Interrupted) => Ok(Read::Interrupted),
                Err(ReadlineError::Eof) => Ok(Read::End),
                Err(ReadlineError::Signal(_)) => continue, // the window has another size
                Err(error) => Err(error.to_string()),
            };
        }
    }
}

struct Commands(Vec<String>);

impl Commands {
    /// Where the word begins that is completed, and what it may become.
    fn complete_word(&self, line: &str) -> (usize, Vec<String>) {
        let with_file = |command: &&String| command.ends_with(' ') && line.starts_with(*command);
        if let Some(command) = self.0.iter().find(with_file) {
            return (command.len(), files_that_begin(&line[command.len()..]));
        }
        let fits = |command: &&String| line.starts_with('/') && command.starts_with(line);
        (0, self.0.iter().filter(fits).cloned().collect())
    }
}

/// Paths that begin so; those of folders end in a slash.
fn files_that_begin(path: &str) -> Vec<String> {
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
    let place = if folder.is_empty() { Path::new(".") } else { Path::new(folder) };
    let Ok(entries) = fs::read_dir(place) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let is_folder = entry.path().is_dir();
            let entry = entry.file_name().into_string().ok()?;
            let shown = !entry.starts_with('.') || name.starts_with('.');
            let slash = if is_folder { "/" } else { "" };
            (shown && entry.starts_with(name)).then(|| format!("{folder}{entry}{slash}"))
        })
        .collect();
    found.sort();
    found
}

impl Completer for Commands {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.complete_word(&line[..at]))
    }
}

impl Validator for Commands {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if context.input().ends_with('\\') {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Hinter for Commands {
    type Hint = String;
}
impl Highlighter for Commands {}
impl Helper for Commands {}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Commands {
        Commands(["/help", "/file ", "/clear"].map(String::from).into())
    }

    #[test]
    fn commands_are_completed_at_the_beginning_of_a_line_alone() {
        assert_eq!(commands().complete_word("/h"), (0, vec!["/help".to_string()]));
        assert_eq!(commands().complete_word("/").1.len(), 3);
        assert!(commands().complete_word("what is /h").1.is_empty());
        assert!(commands().complete_word("").1.is_empty());
    }

    #[test]
    fn files_are_completed_behind_a_command_that_takes_one() {
        let folder = std::env::temp_dir().join(format!("mlxd-line-editor-{}", std::process::id()));
        fs::create_dir_all(folder.join("notes")).unwrap();
        fs::write(folder.join("note.txt"), "").unwrap();
        fs::write(folder.join(".hidden"), "").unwrap();
        let typed = format!("/file {}/", folder.display());
        let (from, found) = commands().complete_word(&(typed.clone() + "note"));
        assert_eq!(from, "/file ".len());
        let names = ["note.txt", "notes/"].map(|name| format!("{}/{name}", folder.display()));
        assert_eq!(found, names);
        assert_eq!(commands().complete_word(&typed).1.len(), 2);
        assert_eq!(commands().complete_word(&(typed + ".h")).1.len(), 1);
        fs::remove_dir_all(folder).unwrap();
        assert!(commands().complete_word("/file /nowhere/at/all/x").1.is_empty());
    }
}

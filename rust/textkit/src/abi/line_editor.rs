use super::{boxed, guarded, Text, View};
use crate::line_editor::{LineEditor, Read};

#[repr(C)]
pub enum CRead {
    Line = 0,
    Interrupted = 1,
    End = 2,
    Fault = 3,
}

#[no_mangle]
pub unsafe extern "C" fn textkit_line_editor_new(
    history: View,
    commands: View,
    error: *mut Text,
) -> *mut LineEditor {
    boxed(guarded(error, || LineEditor::new(history.text()?, commands.text()?)))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_line_editor_free(editor: *mut LineEditor) {
    if !editor.is_null() {
        drop(Box::from_raw(editor));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_line_editor_read(
    editor: *mut LineEditor,
    prompt: View,
    styled_prompt: View,
    line: *mut Text,
    error: *mut Text,
) -> CRead {
    match guarded(error, || (*editor).read(prompt.text()?, styled_prompt.text()?)) {
        Some(Read::Line(typed)) => {
            line.write(typed.into());
            CRead::Line
        }
        Some(Read::Interrupted) => CRead::Interrupted,
        Some(Read::End) => CRead::End,
        None => CRead::Fault,
    }
}

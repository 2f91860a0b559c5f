"""The manual page, mlxd.1, out of what the program says of itself.

    man.py PROGRAM >mlxd.1
"""

import datetime
import os
import re
import subprocess
import sys

PROGRAM = sys.argv[1]


def said(*words):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLXD_", "MLX_SERVER_"))}
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True, env=clean).stdout


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=['.])", r"\\&", text, flags=re.M)


def sections(help_text):
    """The blocks of a help text by their headings; what is before and after them is under "" and "end"."""
    found, name = {"": []}, ""
    for line in help_text.splitlines():
        heading = re.fullmatch(r"([A-Z][A-Za-z ,]*):", line)
        if heading:
            name = heading.group(1)
            found[name] = []
        elif line and not line.startswith(" ") and name:
            name = "end"
            found.setdefault(name, []).append(line)
        else:
            found.setdefault(name, []).append(line)
    return found


def entries(lines):
    """(what is typed, variable, what it means) of each option of a block."""
    out = []
    for line in lines:
        if re.match(r" {2}\S", line):
            head, _, text = line.strip().partition("  ")
            variable = re.search(r" \(Env:(\w+)\)", head)
            if variable:
                head = head.replace(variable.group(0), "", 1)
                head, text = (head[: variable.start()], text or head[variable.start():].strip())
            out.append([head.strip(), variable.group(1) if variable else "", text.strip()])
        elif line.strip() and out:
            out[-1][2] = (out[-1][2] + " " + line.strip()).strip()
    return out


def option(head, variable, text):
    names, _, value = head.partition(" ")
    typed = ", ".join(f"\\fB{escaped(name)}\\fR" for name in names.split(","))
    if value:
        typed += f" \\fI{escaped(value)}\\fR"
    text = escaped(text) + (f" (\\fB{variable}\\fR)" if variable else "")
    return f".TP\n{typed}\n{text}\n"


def main():
    date = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    version = said("--version").split()[1].split("+")[0]
    whole = sections(said("help"))
    out = [f'.TH MLXD 1 "{date:%Y-%m-%d}" "mlxd {version}" "User Commands"\n']
    out.append(".SH NAME\nmlxd \\- inference server for MLX and GGUF language models\n")
    out.append(".SH SYNOPSIS\n.B mlxd\n.I COMMAND\n[\\fIOPTIONS\\fR]\n")
    out.append(
        ".SH DESCRIPTION\nmlxd serves language models over HTTP with the APIs of OpenAI, Anthropic and Ollama, and "
        "talks to them in a terminal. Models are .gguf files, folders with config.json and safetensors, or ids of the "
        "Hugging Face hub.\n"
    )
    commands = entries(whole["Commands"])
    out.append(".SH COMMANDS\n")
    for name, _, text in commands:
        out.append(f".TP\n.B mlxd {name}\n{escaped(text)}\n")
    for name, _, _ in commands:
        if name == "help":
            continue
        of_command = sections(said("help", name))
        out.append(f".SH MLXD {name.upper()}\n")
        usage = " ".join(of_command[""]).partition("Usage: ")[2].split()
        out.append(f".B {escaped(' '.join(usage[:2]))}\n{escaped(' '.join(usage[2:]))}\n")
        last = " ".join(of_command.pop("end", []))
        if last:
            out.append(f".PP\n{escaped(last)}\n")
        for heading, lines in of_command.items():
            rows = [row for row in entries(lines) if row[0] != "-h,--help"] if heading else []
            if rows:
                out.append(f".SS {escaped(heading)}\n")
                out.extend(option(*row) for row in rows)
    out.append(
        ".SH FILES\n.TP\n.I /etc/mlxd/mlxd.toml\nthe settings of the service, where a package of the system brought "
        "one\n.TP\n.I ~/.cache/huggingface/hub\nmodels of the hub\n"
    )
    out.append(
        ".SH EXIT STATUS\n0 when all went well, 1 when it did not and standard error says why, 70 when a step hung and "
        "\\fB\\-\\-exit\\-on\\-hang\\fR was given.\n"
    )
    out.append(".SH EXAMPLES\n.nf\nmlxd run mlx\\-community/Llama\\-3.2\\-1B\\-Instruct\\-4bit\nmlxd serve model.gguf\n.fi\n")
    sys.stdout.write("".join(out))


main()

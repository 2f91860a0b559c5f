"""The commands of the program, as a user types them."""

import json
import os
import re
import resource
import socket
import subprocess
import time

import pytest

from conftest import BINARY, MODEL, MODELS, ROOT, SMOLLM2


# Without settings of this machine's own.
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("MLXD_", "MLX_SERVER_"))}


def mlxd(*arguments, env=CLEAN, **options):
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=300, env=env, **options
    )


def test_help_and_version():
    assert "serve" in mlxd("--help").stdout
    version = mlxd("--version").stdout
    assert re.search(r"mlxd \d+\.\d+\.\d+", version) and "backends: cpu" in version
    for command in ("serve", "run", "chat", "pull", "bench", "inspect"):
        result = mlxd(command, "--help")
        assert result.returncode == 0 and len(result.stdout) > 200


def test_alone_and_help_list_the_commands():
    alone = mlxd()
    assert alone.returncode == 1  # nothing was done
    asked = mlxd("help")
    assert asked.returncode == 0 and asked.stdout == alone.stdout == mlxd("--help").stdout
    for command in ("serve", "run", "chat", "pull", "list", "ps", "rm", "bench", "inspect", "help"):
        assert re.search(rf"^ +{command} ", asked.stdout, re.M), asked.stdout
        assert mlxd("help", command).stdout == mlxd(command, "--help").stdout
    assert "MLXD_PORT" in mlxd("help", "serve").stdout
    assert mlxd("help", "chta").returncode == 1


def test_every_command_takes_a_file_and_a_model(tmp_path):
    for command in ("serve", "chat", "bench", "inspect"):
        text = mlxd("help", command).stdout
        assert re.search(r"^ +FILE ", text, re.M) and "-m,--model" in text, text
    (as_file,), (as_option,) = inspected(SMOLLM2), inspected("-m", SMOLLM2)
    assert as_file["path"] == as_option["path"]
    variable = CLEAN | {"MLXD_MODEL": str(SMOLLM2)}
    assert mlxd("inspect", env=variable).returncode == 0
    refused = mlxd("chat", SMOLLM2, "-m", "other.gguf")
    assert refused.returncode == 1 and "chat takes one model" in refused.stderr
    for command in ("serve", "chat", "bench", "inspect"):
        assert "mlxd " + command in mlxd(command).stderr  # how to name a model


def test_context_is_capped():
    (whole,), (short,) = inspected(SMOLLM2), inspected(SMOLLM2, "--context", 1024)
    assert (whole["context_length"], short["context_length"]) == (8192, 1024)
    assert short["memory_bytes_full_context"] < whole["memory_bytes_full_context"]
    (long,) = inspected(SMOLLM2, "--context", 100_000)
    assert long["context_length"] == 8192
    assert any("--context asks for 100000" in warning for warning in long["warnings"])


def test_more_threads_than_processors_are_warned_of():
    result = mlxd("bench", SMOLLM2, "--threads", 500, "--prompt", 1, "--gen", 1, "--batch", 1, "--repeat", 1)
    assert re.search(r"warning: --threads asks for 500 threads, but", result.stderr), result.stderr


def test_the_mlx_backend_without_a_gpu_is_warned_of():
    if "mlx" not in mlxd("--version").stdout or os.path.exists("/dev/nvidia0"):
        pytest.skip("no mlx backend here, or a GPU for it")
    (model,) = inspected(SMOLLM2, "--backend", "mlx")
    assert any("finds no GPU" in w and "--backend cpu" in w for w in model["warnings"])


def test_variables_that_are_no_setting_are_told():
    result = mlxd("inspect", "--json", SMOLLM2, env=CLEAN | {"MLXD_KV_CACHE_BG": "1"})
    assert result.returncode == 0
    assert "warning: the variable MLXD_KV_CACHE_BG" in result.stderr
    assert "did you mean MLXD_KV_CACHE_GB?" in result.stderr


def test_a_port_that_is_taken_is_told_before_the_model_is_read():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = mlxd("serve", "/nowhere.gguf", "--port", port)  # which would be told later
    assert result.returncode == 1
    assert f"127.0.0.1:{port}" in result.stderr and "nowhere" not in result.stderr


def test_the_readme_lists_every_setting():
    readme = (ROOT / "README.md").read_text()
    options = set(re.findall(r"(--[a-z][a-z-]+)", mlxd("serve", "--help").stdout)) - {"--help"}
    missing = [o for o in sorted(options) if f"`{o}`" not in readme]
    assert missing == []
    variables = re.findall(r"(?:Env|env):(MLXD_[A-Z_]+)", mlxd("serve", "--help").stdout)
    assert variables and [v for v in variables if f"`{v}`" not in readme] == []


def test_inspect():
    text = mlxd("inspect", SMOLLM2)
    assert text.returncode == 0, text.stderr
    for word in ("llama", "Q4_1", "8192", "135"):
        assert word in text.stdout
    data = json.loads(mlxd("inspect", "--json", SMOLLM2).stdout)
    assert data["architecture"] == "llama"


def inspected(*arguments):
    result = mlxd("inspect", "--json", *arguments)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_inspect_plans_with_the_settings_of_serve():
    (plan,) = inspected(SMOLLM2)
    (small,) = inspected(SMOLLM2, "--kv-cache-gb", 0.25)
    assert 0.24 * 2**30 < small["kv_cache_bytes"] <= 0.25 * 2**30
    (int8,) = inspected(SMOLLM2, "--kv-cache-type", "int8")
    assert int8["kv_bytes_per_token"] < 0.6 * plan["kv_bytes_per_token"]
    (large_steps,) = inspected(SMOLLM2, "--step-tokens", 4096)
    assert large_steps["buffer_bytes"] > 1.5 * plan["buffer_bytes"]  # beside logits and the like
    (few_connections,) = inspected(SMOLLM2, "--max-connections", 10)
    assert few_connections["connection_bytes"] < plan["connection_bytes"]
    variable = mlxd("inspect", "--json", SMOLLM2, env=CLEAN | {"MLXD_KV_CACHE_GB": "0.25"})
    assert json.loads(variable.stdout)["kv_cache_bytes"] == small["kv_cache_bytes"]


def test_inspect_warns_of_more_than_there_is():
    too_much = (SMOLLM2, "--kv-cache-gb", 4096, "--max-running", 4096)
    (plan,) = inspected(*too_much)
    assert plan["kv_cache_bytes"] > plan["available_bytes"]
    assert any("--kv-cache-gb" in warning for warning in plan["warnings"])
    text = mlxd("inspect", *too_much)
    assert text.returncode == 0 and re.search(r"^warning .*--kv-cache-gb", text.stdout, re.M)
    assert inspected(SMOLLM2, "--kv-cache-gb", 0.1)[0]["warnings"] == []


def test_inspect_tells_of_a_model_that_would_not_start():
    (plan,) = inspected(SMOLLM2, "--max-memory-gb", 0.1)
    assert "--max-memory-gb" in plan["refusal"] and plan["weight_bytes"] > 50 * 2**20
    text = mlxd("inspect", SMOLLM2, "--max-memory-gb", 0.1)
    assert text.returncode == 0 and re.search(r"^would not start .*--max-memory", text.stdout, re.M)
    assert inspected(SMOLLM2)[0]["refusal"] == ""


def test_inspect_counts_of_windowed_layers_what_they_keep():
    # Gemma 3 270M: of its 18 layers three see all, the others 512 tokens.
    gemma = MODELS / "gemma-3-270m-q4_k_m.gguf"
    (plan,) = inspected(gemma, "--context", 32768)
    (window,) = plan["kv_windows"]
    assert window["tokens"] == 512
    full = plan["kv_bytes_per_token"] - window["kv_bytes_per_token"]
    assert window["kv_bytes_per_token"] == 5 * full
    kept = plan["memory_bytes_full_context"] - plan["weight_bytes"] - plan["buffer_bytes"]
    assert 32768 * full < kept <= 32768 * full + (512 + 32) * window["kv_bytes_per_token"]
    # Windows have half of the cache at most.
    assert plan["kv_cache_tokens"] * full >= plan["kv_cache_bytes"] // 2 - 16 * full
    text = mlxd("inspect", gemma).stdout
    assert re.search(rf"^KV cache +{full} bytes a token, and {5 * full} bytes more for each of the last 512", text, re.M)
    assert re.search(rf"here it would get .*, \d+ tokens of all sequences", text)


def test_models_share_one_plan():
    models = inspected(SMOLLM2, MODELS / "SmolLM2-135M-Instruct-4bit", "--max-memory-gb", 1)
    assert [model["file_format"] for model in models] == ["gguf", "safetensors"]
    parts = ("weight_bytes", "buffer_bytes", "kv_cache_bytes")
    assert 0.99 * 2**30 < sum(model[part] for model in models for part in parts) <= 2**30
    tokens = [model["kv_cache_bytes"] // model["kv_bytes_per_token"] for model in models]
    assert max(tokens) - min(tokens) <= 16  # a block


def test_bench_prints_one_json_object_a_line():
    result = mlxd("bench", "--model", SMOLLM2, "--prompt", 32, "--gen", 8, "--batch", "1,2",
                  "--repeat", 1, "--json")
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["batch"] for line in lines] == [1, 2]
    assert all(line["generated_tokens_per_second"] > 0 for line in lines)


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["inspect", "/nonexistent.gguf"], ["/nonexistent.gguf"]),
        (["serve", "--model", "no-such/model"], ["no-such/model"]),
        (["serve", "--port", "99999", "--model", "x"], ["port"]),
        (["serve"], ["--model"]),
        (["serve", "--no-such-flag"], ["no-such-flag"]),
        (["serve", "--ctx-size", 4096, "--prot", 80], ["serve has no option --ctx-size", "--context", "--port?"]),
        (["chat", "-hf", "org/model"], ["-hf", "--model hf:OWNER/NAME"]),
        (["serve", "--threads", 5000, "x"], ["--threads", "5000", "from 0 to 1024"]),
        (["serve", "--port"], ["--port needs a value"]),
        (["serve", "--lenient=7x"], ["--lenient", "7x"]),
        (["--port", 80, "serve"], ["--port", "mlxd serve --port"]),
        (["model.gguf"], ["mlxd serve model.gguf", "mlxd chat model.gguf"]),
        (["talk", "x"], ["no command talk", "chat"]),
        (["pull"], ["no model is named", "mlxd pull"]),
        (["download", "x"], ["no command download", "pull"]),
        (
            ["serve", "--model", SMOLLM2, "--prefix-cache", "off", "--prefix-cache-dir", "cache"],
            ["--prefix-cache-dir", "--prefix-cache off"],
        ),
        (
            ["serve", "--model", f"a={SMOLLM2},b={SMOLLM2}", "--max-memory-gb", 0.3],
            ["a takes", "b takes", "--max-memory-gb allows 0.30 GiB"],
        ),
        (["frobnicate"], ["frobnicate", "serve", "chat", "bench", "inspect"]),
    ],
    ids=str,
)
def test_a_mistake_is_one_clear_sentence(arguments, words):
    result = mlxd(*arguments)
    assert result.returncode == 1
    assert all(word in result.stderr for word in words), result.stderr
    assert len((result.stderr + result.stdout).strip().splitlines()) <= 3
    last = result.stderr.strip().splitlines()[-1]
    assert re.fullmatch(r"mlxd: .*[^.]", last), last  # all alike: a sentence without its full stop


def test_what_a_variable_or_a_file_holds_is_blamed_on_it(tmp_path):
    variable = mlxd("serve", SMOLLM2, env=CLEAN | {"MLXD_PORT": "99999"})
    assert variable.stderr == "mlxd: MLXD_PORT=99999: 99999 is not a whole number from 0 to 65535\n"
    settings = tmp_path / "mlxd.toml"
    settings.write_text("lenient = true\nport = 99999\n")
    file = mlxd("serve", SMOLLM2, "--config", settings)
    assert file.stderr == f"mlxd: {settings}, line 2, port: 99999 is not a whole number from 0 to 65535\n"
    settings.write_text('port = 80\nmodel = "a.gguf\n')
    broken = mlxd("serve", "--config", settings)
    assert f"{settings}, line 2: " in broken.stderr and 'model = "a.gguf' in broken.stderr


def test_a_kv_cache_that_the_system_does_not_give_is_told_with_its_model():
    gib = 2**30
    result = mlxd(
        "serve", "--model", f"small={SMOLLM2}", "--kv-cache-gb", 8, "--port", 0,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 * gib, 3 * gib)),
    )
    assert result.returncode == 1
    for word in ("small takes", "8.00 GiB of KV cache", "--kv-cache-gb"):
        assert word in result.stderr


def test_a_damaged_model_file_names_file_and_field(tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(SMOLLM2.read_bytes()[:5_000_000])
    result = mlxd("inspect", damaged)
    assert result.returncode == 1 and "damaged.gguf" in result.stderr
    damaged.write_bytes(b"GGUF" + (99).to_bytes(4, "little") + bytes(64))
    assert "version" in mlxd("inspect", damaged).stderr


def test_an_installed_tree_runs_from_elsewhere(tmp_path):
    subprocess.run(
        ["cmake", "--install", BINARY.parent, "--prefix", tmp_path / "tree"],
        check=True, capture_output=True,
    )
    moved = (tmp_path / "tree").rename(tmp_path / "moved")
    version = subprocess.run([moved / "bin/mlxd", "--version"], capture_output=True, text=True)
    assert version.returncode == 0, version.stderr
    assert (moved / "share/doc/mlxd/LICENSE").exists()
    assert list((moved / "share/doc/mlxd/licenses/rust").glob("tokenizers-*/LICENSE"))
    linked = subprocess.run(["ldd", moved / "bin/mlxd"], capture_output=True, text=True).stdout
    if "libmlx" in linked:
        assert str(moved) in re.search(r"libmlx\S* => (\S+)", linked).group(1)


def test_the_memory_that_inspect_foretells_is_not_exceeded(start_server):
    plan = json.loads(mlxd("inspect", "--json", SMOLLM2).stdout)
    server = start_server()
    server.client().completions.create(model=MODEL, prompt="word " * 2000, max_tokens=4, logprobs=2)
    server.client().completions.create(
        model=MODEL, prompt="word " * 700, max_tokens=1, logprobs=2, echo=True
    )
    part = lambda name: server.metric("mlxd_memory_bytes", part=name)
    assert part("weights") == plan["weight_bytes"]
    assert 0 < part("buffers") <= plan["buffer_bytes"]
    assert 1900 * plan["kv_bytes_per_token"] < part("kv_cache") < part("kv_reserved")
    taken = part("weights") + part("kv_cache") + part("buffers")
    resident = server.metric("process_resident_memory_bytes")
    print(f"in the ledger {taken / 2**20:.0f} MiB, resident {resident / 2**20:.0f} MiB")
    assert resident < taken + 96 * 2**20


def test_the_models_of_a_server_stay_together_within_max_memory_gb(start_server):
    server = start_server(
        "--model", f"other={SMOLLM2}", "--max-memory-gb", 1, "--kv-cache-gb", 2
    )
    for model in (MODEL, "other"):
        server.client().completions.create(model=model, prompt="word " * 300, max_tokens=4)
        assert server.metric("mlxd_memory_bytes", model=model, part="kv_reserved") > 2**27
    reserved = sum(
        server.metric("mlxd_memory_bytes", part=part)
        for part in ("weights", "buffers", "kv_reserved")
    )
    assert reserved <= 2**30
    assert "--max-memory-gb leaves" in server.log()


def test_what_connections_hold_is_in_the_ledger(start_server):
    server = start_server()
    held = lambda: server.metric("mlxd_memory_bytes", part="connections")
    baseline = held()  # the scrape's own connection
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    for connection in waiting:
        connection.send(b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 10_000)
    deadline = time.monotonic() + 5
    while held() < 20 * 10_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 20 * 10_000 <= held() < 20 * 64 * 1024
    for connection in waiting:
        connection.close()
    while held() > baseline and time.monotonic() < deadline:
        time.sleep(0.02)
    assert held() == baseline

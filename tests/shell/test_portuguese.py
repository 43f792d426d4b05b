"""The messages of run.sh in Portuguese: none is missing or left over, and only words differ."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest
from results import Result
from shell_source import texts

from .machine import PROJECT, Clone, Toolbox
from .test_env_checks import RULES, check

CATALOGUE = PROJECT / "lib" / "messages.pt_BR"
PROGRAM = PROJECT / "lib" / "translate.awk"
SENTENCES = PROJECT / "lib" / "sentences.awk"
SHELL = [
    PROJECT / "run.sh",
    *sorted(PROJECT.glob("commands/*.sh")),
    *sorted(PROJECT.glob("lib/*.sh")),
]
# The shell prints what these find, as parts of its messages.
PROGRAMS = [PROJECT / "lib" / name for name in ("check.awk", "dotenv.awk", "override.awk")]
# What these print by themselves is a table.
TABLES = ("run.sh", "status.sh", "look.sh", "checks.sh", "watch.sh", "releases.sh")
PROSE = re.compile(r"[a-z]{2,} [a-z(%-]")
COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
AWK_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
# The same in both languages.
SAME = re.compile(r" +(site|admin|log:) +\S+.*|ruff .*|mypy .*|-2 local|Python: %s")
# Lists of words, a command, and what goes into the log.
NOT_SAID = {
    "api live metrics s3 tasks tasks-db",
    "dev development local",
    "prod production",
    "prod dev ",
    "glibc none",
    "pre-deploy pre-switch post-deploy deploy-failed post-rollback",
    "daily %s backup",
    "* * * * * cd %s && { sh run.sh jobs --due & sh run.sh -0 watch --minute; } >/dev/null",
    "sh run.sh %s",
    "%s-jobs.timer %s-watch.timer",
    "sh run.sh %s %s   ",
    "\\n== The roles in PostgreSQL",
    "copying production's database server (up to %s MB)",
    "the requests could not be held",
    "lsn %s %s",
    "time %s",
    "latest %s",
    "connections that were being opened may have been lost: the old Caddy accepted until its end",
    "PROXY_MEMORY has no effect: the engine has not set the limit",
}
ENGLISH_WORD = re.compile(r"\b(the|is|are|of|to|with|without|such|from|then|set|or|not|in|it)\b")
ENGLISH = {"LC_ALL": "", "LANG": "en_US.UTF-8"}
PORTUGUESE = {"LC_ALL": "", "LANG": "pt_BR.UTF-8"}


def catalogue() -> dict[str, str]:
    """English to Portuguese."""
    lines = [line for line in CATALOGUE.read_text().split("\n") if not line.startswith("#")]
    pairs = [pair.split("\n") for pair in re.split(r"\n{2,}", "\n".join(lines).strip("\n"))]
    assert [pair for pair in pairs if len(pair) != 2] == []
    english = [pair[0] for pair in pairs]
    assert sorted(english) == sorted(set(english))
    return dict(pairs)


def found_texts() -> dict[str, bool]:
    """Every text of the shell that may be a message, and whether it has to be one."""
    found: dict[str, bool] = {}
    for path in SHELL:
        for text, said in texts(COMMENT.sub(r"\1", path.read_text())):
            words = " " in text if said else PROSE.search(text) and path.name not in TABLES
            has_words = bool(words) and bool(re.search("[A-Za-z]{2}", text.replace("%s", "")))
            found[text] = found.get(text, False) or (has_words and not SAME.fullmatch(text))
    return found


def help_texts() -> set[str]:
    """Every paragraph of the help of a command, but usages that are nothing but words to type."""
    found = set()
    for path in PROJECT.glob("commands/*.sh"):
        header = re.match(r"# commands/[a-z-]+\.sh: (.*\n(?:#.*\n)*)", path.read_text())
        assert header, path
        text = re.sub(r"(?m)^# ?", "", header[1])
        done = subprocess.run(
            ["awk", "-f", SENTENCES], input=text, capture_output=True, text=True, check=True
        )
        found |= set(done.stdout.splitlines()) - {""}
    return {text for text in found if not text.startswith("usage: ") or "   " in text}


def outcomes() -> set[str]:
    """How a release can have ended, for the table of releases."""
    sources = "".join(path.read_text() for path in SHELL)
    return set(re.findall(r"\b(?:end_release |noutcome=)([a-z][a-z-]*)", sources))


def awk_texts() -> set[str]:
    """Every text of an awk program whose messages the shell prints, without its formats."""
    sources = [re.sub(r"(?m)^ *#.*$", "", path.read_text()) for path in PROGRAMS]
    found = {text for source in sources for text in AWK_TEXT.findall(source) if "[%s]" not in text}
    return {re.sub(r"\\(.)", r"\1", text) for text in found}


def translated(lines: list[str], awk: Path | str = "awk") -> list[str]:
    """The lines as they are printed in Portuguese."""
    done = subprocess.run(
        [awk, "-f", PROGRAM, CATALOGUE, "-"],
        input="".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"),
        env={"LC_ALL": "C"},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode(errors="surrogateescape").splitlines()


# --- The catalogue --------------------------------------------------------------------------------


def test_every_message_has_a_translation() -> None:
    known = catalogue()
    missing = {text for text, is_said in found_texts().items() if is_said} - NOT_SAID
    missing |= help_texts() | outcomes()
    # "set it to" is a message of its own, around the others of lib/check.awk.
    pieces = {text.removeprefix("set it to ").strip() for text in awk_texts() if PROSE.search(text)}
    whole = "\n".join(known)

    assert missing - known.keys() == set()
    assert {piece for piece in pieces if piece not in whole} == set()


def test_every_translation_is_of_a_message() -> None:
    others = awk_texts()
    names = (PROJECT / "lib" / "modes.sh").read_text()

    def is_of_awk(message: str) -> bool:
        pieces = [piece.strip(" '") for piece in message.split("%s")]
        return all(any(piece in text for text in others) for piece in pieces)

    known = found_texts().keys() | help_texts() | outcomes() | {"usage: %s"}
    left = [text for text in catalogue().keys() - known if not is_of_awk(text)]
    assert [text for text in left if f"printf {text} ;;" not in names] == []


def test_every_translation_has_the_values_of_its_message() -> None:
    wrong = [
        (english, portuguese)
        for english, portuguese in catalogue().items()
        if {int(number) for number in re.findall(r"[%&](\d)", portuguese)}
        != set(range(1, english.count("%s") + 1))
    ]
    assert wrong == []


def test_what_the_user_is_told_to_type_is_the_same_in_the_translation() -> None:
    names = "|".join(path.stem for path in PROJECT.glob("commands/*.sh"))
    typed = re.compile(
        rf"sh run\.sh(?: -[0-2])?(?: (?:{names})\b)?(?: --[a-z-]+)*|[A-Z]+_[A-Z_]+|sudo [a-z]+"
    )
    for english, portuguese in catalogue().items():
        assert sorted(typed.findall(portuguese)) == sorted(typed.findall(english)), english


# --- The program ----------------------------------------------------------------------------------


def test_a_refused_value_is_said_in_portuguese_with_all_that_it_is_made_of() -> None:
    lines = []
    for key, values, _ in RULES:
        what, remedy = check(**{key: values[-1]})
        lines += [f"error: {what}", f"  next: {remedy}, then start again"]
    for line, portuguese in zip(lines, translated(lines), strict=True):
        said = re.sub(r"'[^']*'$", "", portuguese)
        assert not ENGLISH_WORD.search(said), f"{line!r}: {portuguese!r}"
        assert portuguese.startswith(("erro: ", "  próximo passo: "))


@pytest.mark.parametrize(
    ("english_end", "portuguese_end"),
    [
        ("", ""),
        (". The previous version is still serving.", ". A versão anterior continua no ar."),
        ("; to check the site: sh run.sh -0 status", "; para conferir o site: sh run.sh -0 status"),
        (", then run the command again", " e rode o comando de novo"),
    ],
    ids=["alone", "still-serving", "to-check", "run-again"],
)
def test_no_message_is_taken_for_another_one(english_end: str, portuguese_end: str) -> None:
    lines, expected = [], []
    for english, portuguese in catalogue().items():
        numbers = itertools.count(1)
        values = re.sub("%s", lambda _: f"value{next(numbers)}", english)  # noqa: B023
        lines.append(f"error: {values}{english_end}")
        expected.append(f"erro: {re.sub(r'[%&](?=[1-9])', 'value', portuguese)}{portuguese_end}")
    assert translated(lines) == expected


MADE_OF_PARTS = {
    "error: Build the image failed": "erro: Fazer o build da imagem: falhou",
    "error: the image of db could not be pulled: x: y. The previous version is still serving.": (
        "erro: não foi possível baixar a imagem de db: x: y. A versão anterior continua no ar."
    ),
    (
        "  next: raise DB_MEMORY in the environment, then run: sh run.sh -0;"
        " to check the site: sh run.sh -0 status"
    ): (
        "  próximo passo: aumente DB_MEMORY no ambiente, depois rode: sh run.sh -0;"
        " para conferir o site: sh run.sh -0 status"
    ),
    "  next: fix what the lines above say, or restore another backup: ls backups": (
        "  próximo passo: corrija o que as linhas acima dizem, ou restaure outro backup: ls backups"
    ),
    "interrupted (SIGINT), undoing what was half-done": (
        "interrompido (SIGINT), desfazendo o que ficou pela metade"
    ),
    "a line that nobody knows": "a line that nobody knows",
    "": "",
}
VALUES = [
    r"/srv/a\n\1&%s %1 &1 100% \\",
    "production",
    "Senhas: ção 'x' \"y\"",
    "\udcff\udcfe",
]


def test_every_awk_translates_alike_and_leaves_values_as_they_are(toolbox: Toolbox) -> None:
    for awk in toolbox.awks().values():
        assert translated(list(MADE_OF_PARTS), awk) == list(MADE_OF_PARTS.values())
        for value in VALUES:
            lines = [f"error: unknown argument '{value}'", f"wrote {value}"]
            said = [f"erro: argumento desconhecido '{value}'", f"{value} foi gravado"]
            assert translated(lines, awk) == said


# --- run.sh ---------------------------------------------------------------------------------------

TRIAL = """main() {
    open_log trial
    say "lint: clean"
    warn "cannot write a%sb"
    step "Build the image" echo all is well
    step "Start the site" sh -c 'echo broken; exit 7'
}"""


def in_language(clone: Clone, languages: dict[str, str], *arguments: str) -> Result:
    """Run run.sh with these variables of the locale."""
    before = clone.environment
    clone.environment = {**before, **languages}
    try:
        return clone.run(*arguments)
    finally:
        clone.environment = before


def in_both_languages(clone: Clone, *arguments: str) -> tuple[Result, Result]:
    """Run run.sh in English and in Portuguese: only words may differ."""
    english, portuguese = (in_language(clone, its, *arguments) for its in (ENGLISH, PORTUGUESE))
    same_but_for_words(english, portuguese)
    return english, portuguese


def same_but_for_words(english: Result, portuguese: Result) -> None:
    """The same exit code, and on each stream as many lines."""
    assert portuguese.status == english.status
    assert len(portuguese.out.splitlines()) == len(english.out.splitlines())
    assert len(portuguese.err.splitlines()) == len(english.err.splitlines())


def test_a_wrong_option_is_refused_in_the_users_language(dash_clone: Clone) -> None:
    english, portuguese = in_both_languages(dash_clone, "-9")
    assert english.err.startswith("error: unknown option '-9' (")
    assert portuguese.status == 2
    assert portuguese.err == (
        "erro: opção desconhecida '-9' (os modos são -0 produção, -1 desenvolvimento e -2 local)\n"
        "  próximo passo: veja como usar: sh run.sh help\n"
    )


@pytest.mark.parametrize(
    ("languages", "word"),
    [
        ({"LC_ALL": "", "LC_MESSAGES": "", "LANG": "pt_BR.UTF-8"}, "erro"),
        ({"LC_ALL": "", "LC_MESSAGES": "pt_PT", "LANG": "en_US.UTF-8"}, "erro"),
        ({"LC_ALL": "pt_BR.UTF-8", "LC_MESSAGES": "C", "LANG": "C"}, "erro"),
        ({"LC_ALL": "C.UTF-8", "LC_MESSAGES": "pt_BR.UTF-8", "LANG": "pt_BR.UTF-8"}, "error"),
        ({"LC_ALL": "", "LC_MESSAGES": "en_US.UTF-8", "LANG": "pt_BR.UTF-8"}, "error"),
        ({"LC_ALL": "", "LC_MESSAGES": "", "LANG": "en_US.UTF-8"}, "error"),
        ({"LC_ALL": "", "LC_MESSAGES": "", "LANG": ""}, "error"),
    ],
)
def test_the_language_is_the_first_that_is_set(
    dash_clone: Clone, languages: dict[str, str], word: str
) -> None:
    assert in_language(dash_clone, languages, "-9").err.split(":")[0] == word


@pytest.mark.every_shell
def test_the_help_is_said_in_portuguese(clone: Clone) -> None:
    english, portuguese = in_both_languages(clone, "help")
    for before, after in zip(english.out.splitlines(), portuguese.out.splitlines(), strict=True):
        assert before[:14] == after[:14] or not before.startswith("  "), "the names of commands"
    whole = in_language(clone, PORTUGUESE, "help", "reindex").assert_ok().out
    assert "\nuso: sh run.sh [-0|-1] reindex          lista esses índices\n     sh run.sh" in whole


def test_the_help_of_each_command_is_portuguese_and_fits_a_screen(dash_clone: Clone) -> None:
    typed = re.compile(r"`[^`]*`|--[a-z-]+|[A-Z]+ ARGUMENTS|sh run\.sh [a-z0-9 -]+|\bin\b")
    for path in sorted(PROJECT.glob("commands/*.sh")):
        lines = in_language(dash_clone, PORTUGUESE, "help", path.stem).assert_ok().out.splitlines()
        assert lines[1].startswith("uso: sh run.sh") or lines[1].startswith("uso: sudo sh run.sh")
        assert [line for line in lines if len(line) > 120] == []
        assert [line for line in lines if ENGLISH_WORD.search(typed.sub("", line))] == []


@pytest.mark.every_shell
def test_a_failing_step_is_said_in_portuguese_and_logged_in_english(clone: Clone) -> None:
    clone.add_command("trial", f'make_state_folder "$STATE"\n{TRIAL}')
    results, logs = [], []
    for language in (ENGLISH, PORTUGUESE):
        results.append(in_language(clone, language, "trial"))
        (log,) = (clone.state / "log").iterdir()
        logs.append(log.read_text())
        log.unlink()
    same_but_for_words(*results)
    assert logs[0] == logs[1]
    assert "== Start the site\nbroken\n" in logs[1]
    portuguese = results[1]
    assert re.fullmatch(
        r"lint: sem problemas\nFazer o build da imagem \.\.\. concluído \(\d+ s\)\n"
        r"Iniciar o site \.\.\. falhou\n",
        portuguese.out,
    )
    assert portuguese.err.startswith(
        "aviso: não é possível gravar a%sb\n  | broken\nerro: Iniciar o site: falhou\n"
        "  próximo passo: corrija o que as linhas acima dizem e rode o comando de novo\n  log:  /"
    )


def test_a_refused_key_is_said_in_portuguese_and_also_by_doctor_that_reads_facts(
    dash_clone: Clone,
) -> None:
    dash_clone.has_started()
    dash_clone.set_in_env(DOMAIN="https://a.com/%s&1")
    _, portuguese = in_both_languages(dash_clone, "init")
    assert "erro: DOMAIN no .env é 'https://a.com/%s&1'\n" in portuguese.err
    assert "  próximo passo: defina-o como nomes de host" in portuguese.err
    _, portuguese = in_both_languages(dash_clone, "doctor")
    assert "  --   DOMAIN no .env é 'https://a.com/%s&1'\n" in portuguese.out
    assert "o que pode rodar aqui\n" in portuguese.out


def test_a_missing_awk_program_changes_no_exit_code(dash_clone: Clone) -> None:
    (dash_clone.root / "lib" / "translate.awk").unlink()
    result = in_language(dash_clone, PORTUGUESE, "-9")
    assert result.status == 2
    assert "error: unknown option '-9'" in result.err

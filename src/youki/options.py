"""The command line as data: every option, argument and command, one row each.

The same rows drive the parser, `--help`, shell completion and the manual page, so that none of them can
disagree. A new command is a row in COMMANDS and a file `commands/<name>.py` with a function `run(args,
settings)`. Names and meanings follow runc; what only crun has is taken from crun. On the hot path: imports
nothing.
"""

from __future__ import annotations

SIGNALS = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN "
    "TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)


class Option:
    """One option. `kind` says what its value is: flag, text, count, choice, file, directory, or a kind of
    number that `quantity` reads: integer, size or duration.

    A flag takes no value (`--flag=false` is accepted, as Go programs do). A count is a whole number, 0 or
    more. What is `hidden` is accepted, but not shown.
    """

    __slots__ = ("about", "choices", "default", "hidden", "key", "kind", "metavar", "names", "repeat")

    def __init__(
        self,
        names: str,
        kind: str,
        metavar: str,
        default: str | int | bool | None,
        about: str,
        choices: str = "",
        repeat: bool = False,
        hidden: bool = False,
    ) -> None:
        self.names = tuple(names.split())
        self.kind = kind
        self.metavar = metavar
        self.default = default
        self.about = about
        self.choices = tuple(choices.split())
        self.repeat = repeat
        self.hidden = hidden
        self.key = self.names[-1].lstrip("-").replace("-", "_")


class Argument:
    """One positional argument. `kind` says what completes it: container, signal, directory, choice or text.

    `rest` takes every word that is left; options end at its first word. `many` takes any number of words,
    with options between them.
    """

    __slots__ = ("about", "choices", "key", "kind", "many", "metavar", "required", "rest")

    def __init__(
        self,
        key: str,
        metavar: str,
        kind: str,
        about: str,
        choices: str = "",
        required: bool = True,
        rest: bool = False,
        many: bool = False,
    ) -> None:
        self.key = key
        self.metavar = metavar
        self.kind = kind
        self.about = about
        self.choices = tuple(choices.split())
        self.required = required
        self.rest = rest
        self.many = many


class Command:
    """One command.

    `failure` is the exit code of an error; `options_first` ends the options at the first argument.
    """

    __slots__ = ("arguments", "description", "failure", "name", "options", "options_first", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        description: str,
        arguments: tuple[Argument, ...] = (),
        options: tuple[Option, ...] = (),
        failure: int = 1,
        options_first: bool = False,
    ) -> None:
        self.name = name
        self.summary = summary
        self.description = description
        self.arguments = arguments
        self.options = options
        self.failure = failure
        self.options_first = options_first

    @property
    def shown(self) -> list[Option]:
        """The options that help, completion and the manual page show."""
        return [option for option in self.options if not option.hidden]


# fmt: off
GLOBALS = (
    Option("-r --root", "directory", "DIR", None,
           "keep the state of containers below DIR (default: /run/youki; as an unprivileged user "
           "$XDG_RUNTIME_DIR/youki)"),
    Option("-l --log", "file", "FILE", None,
           "append the log to FILE (default: standard error)"),
    Option("--log-format", "choice", "FORMAT", "text",
           "write the log as text or json", "text json"),
    Option("--log-level", "choice", "LEVEL", None,
           "log messages of LEVEL and above: error, warning, info or debug (default: warning, with --debug "
           "debug)",
           "error warning info debug"),
    Option("--debug", "flag", "", False,
           "log debug messages, and show where an error came from"),
    Option("-s --systemd-cgroup", "flag", "", False,
           "let systemd make the cgroup; cgroupsPath is then slice:prefix:name, as in "
           "system.slice:youki:job-7"),
    Option("--cgroup-manager", "choice", "MANAGER", None,
           "make cgroups through the file system (cgroupfs, the default) or through systemd",
           "cgroupfs systemd"),
    Option("--rootless", "choice", "BOOL", "auto",
           "ignore missing permission on cgroups: true, false or auto, which is true unless root calls",
           "true false auto"),
    Option("-v --version", "flag", "", False, "print the version and exit"),
    Option("-h --help", "flag", "", False, "print help and exit"),
)

CONTAINER = Argument("id", "CONTAINER", "container", "the id of the container")
NEW_CONTAINER = Argument("id", "CONTAINER", "text", "the id for the new container")
BUNDLE = Option("-b --bundle", "directory", "DIR", ".", "use the bundle in DIR")
CONFIG = Option("-f --config", "file", "FILE", None, "read FILE instead of the bundle's config.json")
REGEX = Option("-r --regex", "flag", "", False,
               "take CONTAINER as a regular expression, for all containers in whose id it is found")
NO_PIVOT = Option("--no-pivot", "flag", "", False,
                  "use MS_MOVE and chroot in place of pivot_root, for a rootfs on a ramdisk")
NO_NEW_KEYRING = Option("--no-new-keyring", "flag", "", False, "keep the caller's session keyring")

CREATE = (
    BUNDLE,
    CONFIG,
    Option("-c --console-socket", "file", "SOCKET", None,
           "send the terminal's master to the unix socket SOCKET"),
    Option("--pidfd-socket", "file", "SOCKET", None,
           "send a pidfd of the first process to the unix socket SOCKET"),
    Option("-p --pid-file", "file", "FILE", None,
           "write the process id of the first process to FILE"),
    NO_PIVOT,
    NO_NEW_KEYRING,
    Option("--preserve-fds", "count", "N", 0,
           "pass N more file descriptors, from 3 on (LISTEN_FDS are passed as well)"),
    Option("--no-subreaper", "flag", "", False,
           "accepted for compatibility: youki never becomes a subreaper"),
)

INTERVAL = Option("--interval", "duration", "DURATION", None,
                  "how often, such as 500ms or 1m30s (default: 5s)")
UPDATE = (
    Option("-r --resources", "file", "FILE", None,
           "read the limits from FILE, the object linux.resources of the OCI specification as JSON; - is "
           "standard input. The options below that set the same limits are then ignored"),
    Option("--blkio-weight", "integer", "WEIGHT", None, "the share of block I/O, 10 to 1000"),
    Option("--cpu-period", "integer", "MICROSECONDS", None, "the period that --cpu-quota counts for"),
    Option("--cpu-quota", "integer", "MICROSECONDS", None,
           "CPU time in each period; -1 is no limit"),
    Option("--cpu-burst", "integer", "MICROSECONDS", None,
           "unused CPU time that may be saved up beyond the quota"),
    Option("--cpu-share", "integer", "SHARES", None, "the share of CPU time, 2 to 262144 (1024 is usual)"),
    Option("--cpu-rt-period", "integer", "MICROSECONDS", None, "the period that --cpu-rt-runtime counts for"),
    Option("--cpu-rt-runtime", "integer", "MICROSECONDS", None,
           "real-time CPU time in each period (cgroup v1)"),
    Option("--cpuset-cpus", "text", "LIST", None, "the CPUs to run on, such as 0-3,8"),
    Option("--cpuset-mems", "text", "LIST", None, "the memory nodes to use, such as 0-1"),
    Option("--cpu-idle", "integer", "0|1", None, "1: run only when no other cgroup wants the CPU"),
    Option("--memory", "size", "SIZE", None, "the memory limit"),
    Option("--memory-reservation", "size", "SIZE", None, "memory that is kept from being reclaimed"),
    Option("--memory-swap", "size", "SIZE", None, "the limit of memory and swap together"),
    Option("--kernel-memory", "size", "SIZE", None, "ignored: kernels have no such limit any more", hidden=True),
    Option("--kernel-memory-tcp", "size", "SIZE", None, "ignored, as --kernel-memory", hidden=True),
    Option("--pids-limit", "integer", "N", None, "how many processes and threads there may be; -1 is no limit"),
    Option("--l3-cache-schema", "text", "SCHEMA", None, "the part of the L3 cache to use (Intel RDT/CAT)"),
    Option("--mem-bw-schema", "text", "SCHEMA", None, "the memory bandwidth to use (Intel RDT/MBA)"),
)

IMAGE_PATH = Option("--image-path", "directory", "DIR", "checkpoint", "the directory of the checkpoint")
CRIU = (
    Option("--work-path", "directory", "DIR", None, "write CRIU's log into DIR (default: the image path)"),
    Option("--tcp-established", "flag", "", False, "with TCP connections that are established"),
    Option("--ext-unix-sk", "flag", "", False, "with connections to UNIX sockets outside"),
    Option("--shell-job", "flag", "", False, "with processes of a session outside, such as a shell's"),
    Option("--file-locks", "flag", "", False, "with file locks"),
    Option("--auto-dedup", "flag", "", False, "free pages of an image that are in a later one, or restored"),
    Option("--lazy-pages", "flag", "", False, "leave memory to be fetched when it is used"),
    Option("--empty-ns", "choice", "NAME", None, "without what is in the namespace: network", "network",
           repeat=True),
    Option("--manage-cgroups-mode", "choice", "MODE", "soft",
           "what CRIU does about cgroups: soft, full, strict or ignore", "soft full strict ignore"),
)
CHECKPOINT = (
    IMAGE_PATH,
    Option("--parent-path", "text", "DIR", None,
           "write what has changed since the pre-dump in DIR, relative to the image path"),
    Option("--pre-dump", "flag", "", False, "write memory only, and let the container go on"),
    Option("--leave-running", "flag", "", False, "let the container go on"),
    *CRIU,
    Option("--link-remap", "flag", "", False, "with open files that were deleted and have another name"),
    Option("--tcp-skip-in-flight", "flag", "", False, "leave out TCP connections that are not established yet"),
    Option("--page-server", "text", "ADDRESS:PORT", None,
           "send memory to the page server there; with --lazy-pages give it away there"),
    Option("--status-fd", "count", "FD", None, "write a NUL to FD when lazy pages can be fetched"),
)
RESTORE = (
    BUNDLE,
    IMAGE_PATH,
    Option("-d --detach", "flag", "", False, "leave the container running in the background"),
    Option("--console-socket", "file", "SOCKET", None,
           "send the terminal's master to the unix socket SOCKET"),
    Option("--pid-file", "file", "FILE", None, "write the process id of the first process to FILE"),
    *CRIU,
    Option("--lsm-profile", "text", "TYPE:NAME", None,
           "use another profile of a security module: apparmor:NAME or selinux:LABEL"),
    Option("--lsm-mount-context", "text", "LABEL", None, "mount with another label of SELinux"),
    Option("--no-pivot", "flag", "", False, "accepted for compatibility: CRIU decides", hidden=True),
    Option("--no-subreaper", "flag", "", False,
           "accepted for compatibility: youki never becomes a subreaper", hidden=True),
)

EXEC = (
    Option("-p --process", "file", "FILE", None,
           "take all of the process from FILE, a process object as in config.json; other options that "
           "describe it count for nothing then"),
    Option("-t --tty", "flag", "", False, "give the process a terminal"),
    Option("--console-socket", "file", "SOCKET", None,
           "send the terminal's master to the unix socket SOCKET"),
    Option("--pidfd-socket", "file", "SOCKET", None, "send a pidfd of the process to the unix socket SOCKET"),
    Option("-d --detach", "flag", "", False, "return as soon as the process runs"),
    Option("--pid-file", "file", "FILE", None, "write the process id to FILE"),
    Option("--cwd", "text", "DIR", None, "start in DIR, an absolute path in the container"),
    Option("-e --env", "text", "NAME=VALUE", None, "set an environment variable; may be repeated", repeat=True),
    Option("-u --user", "text", "UID[:GID]", None, "run as this user and group, in numbers"),
    Option("-g --additional-gids", "text", "GID", None,
           "add a supplementary group, by its number; may be repeated", repeat=True),
    Option("-c --cap", "text", "CAPABILITY", None, "add a capability; may be repeated", repeat=True),
    Option("--no-new-privs", "flag", "", None, "let no program of the process gain privileges"),
    Option("--apparmor", "text", "PROFILE", None, "confine the process by an AppArmor profile"),
    Option("--process-label", "text", "LABEL", None, "give the process an SELinux label"),
    Option("--cgroup", "text", "PATH", None,
           "start in the cgroup PATH below the container's, or as CONTROLLER[,CONTROLLER]:PATH in that of some "
           "controllers; may be repeated", repeat=True),
    Option("--preserve-fds", "count", "N", 0, "pass N more file descriptors, from 3 on"),
    Option("--ignore-paused", "flag", "", False, "start in a paused container, too, and wait until it is resumed"),
)

COMMANDS = (
    Command("create", "create a container",
            "Make the container of a bundle: its namespaces, root file system and cgroup exist afterwards, "
            "and its process waits for 'youki start'.",
            (NEW_CONTAINER,),
            CREATE),
    Command("start", "start the process of a created container",
            "Let the process of a created container execute the program of its configuration.",
            (CONTAINER,)),
    Command("run", "create a container, start it and wait",
            "Create and start a container, forward signals and the terminal to it, wait for its end and "
            "delete it. The exit code is that of the container's process, or 128+N when signal N ended it.",
            (NEW_CONTAINER,),
            (*CREATE,
             Option("-d --detach", "flag", "", False, "return as soon as the container is started"),
             Option("--keep", "flag", "", False, "do not delete the container after it has ended"))),
    Command("exec", "run another process in a container",
            "Run a command in a running container, in the foreground or, with --detach, without waiting for "
            "it. What no option says is as the container's own process has it. The exit code is that of the "
            "command, 128+N when signal N ended it, or 255 when it could not be run.",
            (CONTAINER,
             Argument("command", "COMMAND", "text", "the command with its arguments; not with --process",
                      required=False, rest=True)),
            EXEC,
            failure=255),
    Command("state", "print the state of a container",
            "Print the state of a container as JSON, as the OCI runtime specification defines it.",
            (CONTAINER,)),
    Command("list", "list containers",
            "List the containers of the state root. The table has the columns ID, PID, STATUS, BUNDLE, "
            "CREATED and OWNER; PID is 0 where no process is left.",
            (),
            (Option("-f --format", "choice", "FORMAT", "table", "print a table or json", "table json"),
             Option("-q --quiet", "flag", "", False, "print ids only"))),
    Command("kill", "send a signal to a container",
            "Send a signal to the first process of a container. SIGNAL is a number or a name, with or "
            "without SIG; 0 only looks whether it runs.",
            (CONTAINER,
             Argument("signal", "SIGNAL", "signal", "the signal (default: TERM)", SIGNALS, required=False)),
            (Option("-a --all", "flag", "", False, "send the signal to every process of the container"),
             REGEX)),
    Command("pause", "pause a container",
            "Stop every process of a created or running container where it stands.",
            (CONTAINER,)),
    Command("resume", "resume a paused container",
            "Let the processes of a paused container go on.",
            (CONTAINER,)),
    Command("ps", "list the processes of a container",
            "Show the processes of a container as ps(1) does. Further words are options for ps (default: -ef); "
            "its output needs a column PID.",
            (CONTAINER,
             Argument("options", "OPTION", "text", "an option for ps", required=False, rest=True)),
            (Option("-f --format", "choice", "FORMAT", "table",
                    "print a table, or only the process ids as json", "table json"),),
            options_first=True),
    Command("events", "print what happens in a container",
            "Print events as JSON, one on a line: stats, what the container uses, at intervals; and oom, each "
            "time that it runs out of memory. Ends when the container ends.",
            (CONTAINER,),
            (INTERVAL,
             Option("--stats", "flag", "", False, "print what it uses now, once, and exit"))),
    Command("stats", "show what containers use",
            "Show CPU time (100 % is one CPU), memory with its limit and peak, processes, block I/O, pressure "
            "(in how much of the last ten seconds something waited for CPU/memory/I/O) and throttling (in how "
            "many periods of the CPU quota it was stopped), of the containers named or of all. On a terminal the "
            "table is refreshed in place until you interrupt it or all have ended.",
            (Argument("ids", "CONTAINER", "container", "the ids of the containers (default: all that run)",
                      required=False, many=True),),
            (Option("--interval", "duration", "DURATION", None,
                    "how often, such as 500ms or 1m30s (default: 1s)"),
             Option("--no-stream", "flag", "", False, "print the table once, after one interval"),
             Option("--json", "flag", "", False, "print JSON, one container on a line"))),
    Command("update", "change the limits of a container",
            "Change limits of a container while it runs. What is not named keeps its value. SIZE is a number "
            "of bytes, with a unit of base 1024 if you like: 512k, 64m, 2g; -1 is no limit. Either all changes "
            "are made or, after an error, none.",
            (CONTAINER,),
            UPDATE),
    Command("checkpoint", "write a running container to files",
            "Write the processes of a running container, with their memory, to a directory, by the program criu, "
            "and delete the container. Restore makes one of it again.",
            (CONTAINER,),
            CHECKPOINT),
    Command("restore", "make a container from a checkpoint",
            "Make a container from what checkpoint has written, with the bundle that it had. It goes on where it "
            "was. Unless it is detached, youki waits for its end, deletes it, and exits with its exit code.",
            (NEW_CONTAINER,),
            RESTORE),
    Command("delete", "delete a container",
            "Remove a stopped container and all that the host holds for it. A container that was created "
            "and never started is killed first.",
            (CONTAINER,),
            (Option("-f --force", "flag", "", False,
                    "kill a running container first; succeed if there is none"),
             REGEX)),
    Command("spec", "write a configuration to start from",
            "Write a config.json with safe defaults that runs sh. An existing file is never overwritten.",
            (),
            (Option("-b --bundle", "directory", "DIR", ".", "write into the bundle in DIR"),
             Option("-f --file", "file", "FILE", "config.json", "write FILE, relative to the bundle"),
             Option("--rootless", "flag", "", False, "for a container of the calling, unprivileged user"))),
    Command("bundle", "make a bundle",
            "Write a complete bundle into DIR: a config.json and a root file system. SOURCE is host (the "
            "host's own programs, read-only), rootfs:PATH (an existing directory) or tar:FILE (an archive "
            "of a root file system).",
            (Argument("directory", "DIR", "directory", "where to make the bundle"),
             Argument("command", "COMMAND", "text", "what the container runs (default: sh)",
                      required=False, rest=True)),
            (Option("--from", "text", "SOURCE", "host", "take the root file system from SOURCE"),
             Option("--rootless", "flag", "", False, "map only the caller (always so unless root calls)"),
             Option("--writable", "flag", "", False, "let the container write to its root file system"),
             Option("-t --tty", "flag", "", False, "give the container a terminal (so when called at one)"))),
    Command("explain", "print what youki would do for a bundle",
            "Print the plan for a bundle, or with --exec for another process in a running container, without "
            "carrying it out: one operation per line, with the place in config.json that asks for it.",
            (Argument("command", "COMMAND", "text", "with --exec: the command with its arguments",
                      required=False, rest=True),),
            (BUNDLE, CONFIG, NO_PIVOT, NO_NEW_KEYRING,
             Option("--exec", "text", "CONTAINER", None, "explain what 'youki exec CONTAINER' would do"),
             Option("-p --process", "file", "FILE", None, "with --exec: the process object, as of exec"))),
    Command("info", "print what this host offers to containers",
            "Print the version, the kernel, the cgroup set-up, the namespaces and the capabilities of this "
            "host.",
            (),
            (Option("-f --format", "choice", "FORMAT", "text", "print text or json", "text json"),)),
    Command("features", "print what this runtime implements",
            "Print the features of this runtime as JSON, as the OCI runtime specification defines it."),
    Command("doctor", "find out what works on this host",
            "Make a tiny container of each kind that this host may offer, remove it, and say what works, what "
            "does not, why, and what mends it. The exit code is 1 when something does not work that could be "
            "expected to. PROBE is rootful, rootless, subordinate-ids, limits, seccomp, systemd or an engine: "
            "podman, docker, containerd.",
            (Argument("probe", "PROBE", "text", "only this probe (default: all)", required=False, rest=True),),
            (Option("--json", "flag", "", False, "print JSON"),)),
    Command("install", "tell an engine of youki",
            "Write the configuration by which podman, Docker or containerd knows the runtime youki: of the "
            "whole host for root, otherwise of the calling user. Nothing else in it is changed, and --remove "
            "undoes it.",
            (Argument("engine", "ENGINE", "choice", "podman, docker or containerd", "podman docker containerd"),),
            (Option("--default", "flag", "", False, "let the engine use youki unless it is told otherwise"),
             Option("-n --dry-run", "flag", "", False, "print what would change, as diff -u does, and change nothing"),
             Option("--remove", "flag", "", False, "let the engine forget youki"),
             Option("--destdir", "directory", "DIR", "/", "take DIR for the root directory, such as an image's"))),
    Command("completion", "print a completion script for a shell",
            "Print a completion script. For bash: source <(youki completion bash).",
            (Argument("shell", "SHELL", "choice", "bash, zsh or fish", "bash zsh fish"),)),
    Command("man", "print the manual page",
            "Print the manual page as troff source. To read it: youki man | man -l -"),
    Command("help", "print help",
            "Print help for youki or for one of its commands.",
            (Argument("topic", "COMMAND", "command", "a command", required=False),)),
)
# fmt: on


def find(name: str) -> Command | None:
    """Return the command called `name`, or None."""
    for command in COMMANDS:
        if command.name == name:
            return command
    return None


def usage(command: Command | None) -> str:
    """Return the usage line, without the word "usage": of one command, or of youki itself for None."""
    if command is None:
        return "youki [OPTION]... COMMAND [OPTION]... [ARGUMENT]..."
    words = ["youki", command.name]
    if command.options:
        words.append("[OPTION]...")
    for argument in command.arguments:
        name = f"{argument.metavar} [ARGUMENT]..." if argument.rest else argument.metavar
        words.append((name if argument.required else f"[{name}]") + ("..." if argument.many else ""))
    return " ".join(words)

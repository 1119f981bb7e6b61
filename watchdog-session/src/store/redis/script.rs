use watchdog_storage::redis::Script;

/// The first line says what a server that is full does with a script: it refuses what makes it
/// fuller, whole, and lets through what ends a session or keeps its size.
macro_rules! whole {
    ($name:literal, $flags:literal, $($file:literal),+) => {
        Script::new(
            $name,
            concat!(
                "#!lua",
                $flags,
                "\n",
                $(include_str!(concat!("../scripts/", $file))),+
            ),
        )
    };
}

/// A script with all that session scripts share.
macro_rules! script {
    ($name:literal, $flags:literal, $($file:literal),+) => {
        whole!($name, $flags, "base.lua", "endings.lua", "session.lua", $($file),+)
    };
}

pub(super) static CREATE: Script = script!("session.create.v2", "", "order.lua", "create.lua");
pub(super) static TOUCH: Script = script!("session.touch.v2", " flags=allow-oom", "touch.lua");
pub(super) static ROTATE: Script = whole!(
    "session.rotate.v2",
    " flags=allow-oom",
    "base.lua",
    "rotate.lua",
    "endings.lua",
    "rotate_end.lua"
);
pub(super) static REVOKE: Script = script!("session.revoke.v2", " flags=allow-oom", "revoke.lua");
pub(super) static REGENERATE: Script =
    script!("session.regenerate.v2", " flags=allow-oom", "regenerate.lua");
pub(super) static REVOKE_ALL: Script =
    script!("session.revoke_all.v2", " flags=allow-oom", "order.lua", "revoke_all.lua");
pub(super) static REVOKE_EVERYBODY: Script =
    script!("session.revoke_everybody.v2", " flags=allow-oom", "revoke_everybody.lua");
pub(super) static UPDATE: Script = script!("session.update.v2", "", "update.lua");
pub(super) static REPORT: Script = script!("session.report.v2", "", "report.lua");
pub(super) static TIME: Script = script!("session.time.v2", " flags=allow-oom", "time.lua");

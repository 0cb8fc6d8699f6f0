/**
 * The names of variables a child may see. Engines run third-party code: they get what programs need to find
 * themselves and the graphics driver, and none of our secrets.
 */
const allowed =
  /^(PATH|PATHEXT|HOME|USER|USERNAME|USERPROFILE|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|DISPLAY|WAYLAND_DISPLAY|XDG_\w+|LD_LIBRARY_PATH|SYSTEMROOT|WINDIR|COMSPEC|APPDATA|LOCALAPPDATA|PROGRAMDATA|PROGRAMFILES|NUMBER_OF_PROCESSORS|PROCESSOR_\w+|CUDA_\w+|NVIDIA_\w+|HF_HOME|HF_HUB_OFFLINE|VIRTUAL_ENV|STANDIN_\w+)$/i;

/** Marks every process we start, and what those start: how survivors are recognised. */
export const ownerVariable = 'KILNHOUSE_OWNER';
export const childVariable = 'KILNHOUSE_CHILD';

export function childEnv(
  source: NodeJS.ProcessEnv,
  marks: { owner: string; child: string },
  extra: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(source)) {
    if (value !== undefined && allowed.test(name)) env[name] = value;
  }
  return { ...env, ...extra, [ownerVariable]: marks.owner, [childVariable]: marks.child };
}

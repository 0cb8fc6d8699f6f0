import {
  Alert,
  Badge,
  Button,
  Code,
  Group,
  NumberInput,
  Paper,
  PasswordInput,
  Select,
  Stack,
  Switch,
  TagsInput,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { useState } from 'react';
import type { Static } from 'typebox';
import type { SettingsView } from '../../../server/contract/console.ts';
import { call, Refusal } from '../../api/client.ts';
import { useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { useAction } from '../../ui/actions.tsx';
import { Empty, Loaded, Page } from '../../ui/page.tsx';
import { RestartButton } from '../restart-button.tsx';
import { kindOf, titleOf } from '../settings/setting-kind.ts';

type Setting = Static<typeof SettingsView>[number];
type Changes = Readonly<Record<string, unknown>>;

const groupTitles: Readonly<Record<string, string>> = {
  tenant: 'Tenant API',
  operator: 'Console',
  demo: 'Demo',
  gpu: 'Video memory',
  scheduler: 'Order of work',
  lmStudio: 'LM Studio',
  webui: 'Stable Diffusion web UI',
  llamaCpp: 'Built-in llama.cpp',
  accounts: 'Accounts',
  mail: 'E-mail',
  webhooks: 'Webhooks',
  moderation: 'Moderation',
  storage: 'Files',
  usage: 'Statistics',
  tunnel: 'Tunnel',
  backup: 'Backups',
  payments: 'Payments',
  log: 'Logs',
};

export default function SettingsPage() {
  const query = useGet<Setting[]>('/api/settings');
  const [changes, setChanges] = useState<Changes>({});
  const [fault, setFault] = useState<{ path: string; message: string } | null>(null);
  const [search, setSearch] = useState('');
  const save = useAction(async () => {
    setFault(null);
    try {
      await call('PATCH', '/api/settings', { set: changes });
    } catch (error) {
      if (error instanceof Refusal && error.param !== null)
        setFault({ path: error.param, message: error.message });
      throw error;
    }
    setChanges({});
    return 'Saved.';
  });
  const reset = useAction(async (path: string) => {
    await call('PATCH', '/api/settings', { reset: [path] });
    setChanges(({ [path]: _, ...others }) => others);
    return 'Back to the default.';
  });
  const recover = useAction(async () => {
    await call('POST', '/api/settings/recover');
    return 'config.json holds the settings again that worked. What was in it is kept as config.refused.json.';
  });
  const broken = useLive(({ alerts }) => alerts['settings:file']);
  const isChanged = Object.keys(changes).length > 0;
  return (
    <Page
      title="Settings"
      about="All that can be set. What cannot change while it runs waits for a restart, and says so."
      actions={
        <TextInput
          aria-label="Search"
          placeholder="Search"
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
        />
      }
    >
      <Loaded query={query}>
        {(settings) => {
          const found = settings.filter(({ path, description }) =>
            `${path} ${titleOf(path)} ${description}`.toLowerCase().includes(search.toLowerCase()),
          );
          const groups = [...new Set(found.map(({ path }) => path.split('.')[0] ?? ''))];
          const pending = settings.filter((one) => one.pending);
          return (
            <Stack>
              {broken && (
                <Alert color="red" title={broken.title}>
                  <Group justify="space-between">
                    <Text size="sm">{broken.advice}</Text>
                    <Button
                      size="xs"
                      color="red"
                      loading={recover.isPending}
                      onClick={() => recover.mutate()}
                    >
                      Go back to the settings that worked
                    </Button>
                  </Group>
                </Alert>
              )}
              {pending.length > 0 && (
                <Alert variant="light" color="yellow" title="Some changes wait for a restart">
                  <Group justify="space-between">
                    <Text size="sm">{pending.map(({ path }) => path).join(', ')}</Text>
                    <RestartButton size="xs" />
                  </Group>
                </Alert>
              )}
              {groups.length === 0 && <Empty title="No setting is called that" />}
              {groups.map((group) => (
                <Paper
                  key={group}
                  withBorder
                  p="md"
                  component="section"
                  aria-label={groupTitles[group] ?? group}
                >
                  <Title order={2} size="h4" mb="sm">
                    {groupTitles[group] ?? group}
                  </Title>
                  <Stack>
                    {found
                      .filter(({ path }) => path.split('.')[0] === group)
                      .map((setting) => (
                        <Control
                          key={setting.path}
                          setting={setting}
                          changes={changes}
                          error={fault?.path === setting.path ? fault.message : null}
                          change={(value) => setChanges((all) => ({ ...all, [setting.path]: value }))}
                          reset={() => reset.mutate(setting.path)}
                        />
                      ))}
                  </Stack>
                </Paper>
              ))}
              {isChanged && (
                <Paper
                  withBorder
                  shadow="md"
                  p="sm"
                  pos="sticky"
                  bottom={12}
                  component="section"
                  aria-label="Changes"
                >
                  <Group justify="space-between">
                    <Text size="sm">{Object.keys(changes).length} not saved yet</Text>
                    <Group gap="xs">
                      <Button variant="default" onClick={() => setChanges({})}>
                        Undo
                      </Button>
                      <Button loading={save.isPending} onClick={() => save.mutate()}>
                        Save
                      </Button>
                    </Group>
                  </Group>
                </Paper>
              )}
            </Stack>
          );
        }}
      </Loaded>
    </Page>
  );
}

function Control({
  setting,
  changes,
  error,
  change,
  reset,
}: {
  setting: Setting;
  changes: Changes;
  error: string | null;
  change: (value: unknown) => void;
  reset: () => void;
}) {
  const { path, description, schema, secret, value, next, pending, atOnce, decidedBy } = setting;
  const kind = kindOf(schema, secret);
  const saved = pending ? next : value;
  const isEdited = Object.hasOwn(changes, path);
  const shown = isEdited ? changes[path] : saved;
  const isDefault = JSON.stringify(saved ?? null) === JSON.stringify(setting.default ?? null);
  const label = (
    <Group gap={8} component="span">
      {titleOf(path)}
      <Code fz={11}>{path}</Code>
      {pending && (
        <Badge size="xs" color="yellow" variant="light">
          after a restart
        </Badge>
      )}
      {atOnce && (
        <Badge size="xs" color="teal" variant="light">
          at once
        </Badge>
      )}
    </Group>
  );
  const common = {
    label,
    description:
      decidedBy === null ? description : `${description} ${decidedBy} decides it, whatever is set here.`,
    error,
    disabled: decidedBy !== null,
  };
  const empty = kind.isOptional ? null : '';
  const text = typeof shown === 'string' || typeof shown === 'number' ? String(shown) : '';
  return (
    <Group align="flex-end" wrap="nowrap" gap="xs">
      <div style={{ flex: 1, maxWidth: 680 }}>
        {kind.kind === 'flag' && (
          <Switch
            {...common}
            checked={shown === true}
            onChange={(event) => change(event.currentTarget.checked)}
          />
        )}
        {kind.kind === 'number' && (
          <NumberInput
            {...common}
            value={typeof shown === 'number' ? shown : ''}
            allowDecimal={!kind.isWhole}
            {...(kind.min !== null && { min: kind.min })}
            {...(kind.max !== null && { max: kind.max })}
            placeholder={kind.isOptional ? 'chosen by itself' : ''}
            onChange={(given) => change(given === '' ? null : Number(given))}
          />
        )}
        {kind.kind === 'text' && (
          <TextInput
            {...common}
            value={text}
            placeholder={kind.isOptional ? 'none' : ''}
            onChange={(event) => change(event.currentTarget.value === '' ? empty : event.currentTarget.value)}
          />
        )}
        {kind.kind === 'secret' && (
          <PasswordInput
            {...common}
            value={isEdited ? text : ''}
            placeholder={saved === true ? 'set; it is shown to nobody' : 'not set'}
            autoComplete="off"
            onChange={(event) => change(event.currentTarget.value === '' ? null : event.currentTarget.value)}
          />
        )}
        {kind.kind === 'choice' && (
          <Select
            {...common}
            data={[...kind.choices]}
            value={text === '' ? null : text}
            clearable={kind.isOptional}
            placeholder={kind.isOptional ? 'found out by itself' : ''}
            onChange={(given) => (given !== null || kind.isOptional) && change(given)}
          />
        )}
        {kind.kind === 'list' && (
          <TagsInput
            {...common}
            value={Array.isArray(shown) ? shown.map(String) : []}
            placeholder="Type one, then Enter"
            onChange={change}
          />
        )}
      </div>
      {!isDefault && decidedBy === null && (
        <Button size="xs" variant="subtle" color="gray" onClick={reset} aria-label={`Default for ${path}`}>
          Default
        </Button>
      )}
    </Group>
  );
}

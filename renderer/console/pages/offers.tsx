import {
  Alert,
  Button,
  Group,
  JsonInput,
  Modal,
  Stack,
  Table as PlainTable,
  Tabs,
  Text,
} from '@mantine/core';
import { useState } from 'react';
import { call } from '../../api/client.ts';
import { useGet } from '../../api/queries.ts';
import { useAction } from '../../ui/actions.tsx';
import { count } from '../../ui/format.ts';
import { Loaded, Page } from '../../ui/page.tsx';
import { titleOf } from '../settings/setting-kind.ts';

const names = ['plans', 'prices', 'packages'] as const;
type Name = (typeof names)[number];

const about: Readonly<Record<Name, string>> = {
  plans: 'What tenants of a plan may do. Changes hold from the next request on.',
  prices: 'Credits for each kind of work. Open jobs keep the prices they were asked for at.',
  packages: 'Credits that can be bought.',
};

export default function OffersPage() {
  return (
    <Page title="Plans and prices" about="What is offered, for how much. Each change is in the audit log.">
      <Tabs defaultValue="plans" keepMounted={false}>
        <Tabs.List>
          {names.map((name) => (
            <Tabs.Tab key={name} value={name}>
              {titleOf(name)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {names.map((name) => (
          <Tabs.Panel key={name} value={name} pt="md">
            <Offer name={name} />
          </Tabs.Panel>
        ))}
      </Tabs>
    </Page>
  );
}

function Offer({ name }: { name: Name }) {
  const query = useGet<Record<string, unknown>>(`/api/${name}`);
  const [edited, setEdited] = useState<string | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const save = useAction(async () => {
    setFault(null);
    try {
      await call('PUT', `/api/${name}`, JSON.parse(edited ?? '{}'));
    } catch (error) {
      // Said in the dialog, beside what it is about; a message in the corner would lie over its button.
      setFault(error instanceof Error ? error.message : String(error));
      return null;
    }
    setEdited(null);
    return `The ${name} are changed. They apply from the next request on.`;
  });
  return (
    <Loaded query={query}>
      {(offer) => (
        <Stack>
          <Group justify="space-between">
            <Text size="sm" c="dimmed">
              {about[name]}
            </Text>
            <Button variant="default" onClick={() => setEdited(JSON.stringify(offer, null, 2))}>
              Edit
            </Button>
          </Group>
          <Shown offer={offer} label={titleOf(name)} />
          <Modal
            opened={edited !== null}
            onClose={() => {
              setEdited(null);
              setFault(null);
            }}
            title={`Edit ${name}`}
            size="xl"
            centered
          >
            <Stack>
              <JsonInput
                label={titleOf(name)}
                description="It is checked when you save. If there is an error, nothing changes."
                validationError="That is not JSON"
                // Its size stays: what moves when it is left takes the press away from the button.
                rows={24}
                value={edited ?? ''}
                onChange={setEdited}
                styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } }}
              />
              {fault !== null && (
                <Alert color="red" title="Nothing was changed" role="alert">
                  {fault}
                </Alert>
              )}
              <Group justify="flex-end">
                <Button loading={save.isPending} onClick={() => save.mutate()}>
                  Save
                </Button>
              </Group>
            </Stack>
          </Modal>
        </Stack>
      )}
    </Loaded>
  );
}

/** Things of one form as a table with a column for each; anything else as a table of its values. */
function Shown({ offer, label }: { offer: object; label: string }) {
  const entries = Object.entries(offer);
  const isOfThings =
    entries.length > 0 && entries.every(([, value]) => typeof value === 'object' && value !== null);
  if (!isOfThings)
    return (
      <PlainTable aria-label={label} maw={640}>
        <PlainTable.Tbody>
          {entries.map(([name, value]) => (
            <PlainTable.Tr key={name}>
              <PlainTable.Th scope="row">{titleOf(name)}</PlainTable.Th>
              <PlainTable.Td>{valueOf(value)}</PlainTable.Td>
            </PlainTable.Tr>
          ))}
        </PlainTable.Tbody>
      </PlainTable>
    );
  const rows = [...new Set(entries.flatMap(([, value]) => Object.keys(value as object)))];
  return (
    <PlainTable.ScrollContainer minWidth={600} type="native">
      <PlainTable aria-label={label}>
        <PlainTable.Thead>
          <PlainTable.Tr>
            <PlainTable.Td />
            {entries.map(([name, value]) => (
              <PlainTable.Th key={name} scope="col">
                {(value as { name?: string }).name ?? name}
              </PlainTable.Th>
            ))}
          </PlainTable.Tr>
        </PlainTable.Thead>
        <PlainTable.Tbody>
          {rows.map((row) => (
            <PlainTable.Tr key={row}>
              <PlainTable.Th scope="row">{titleOf(row)}</PlainTable.Th>
              {entries.map(([name, value]) => (
                <PlainTable.Td key={name}>{valueOf((value as Record<string, unknown>)[row])}</PlainTable.Td>
              ))}
            </PlainTable.Tr>
          ))}
        </PlainTable.Tbody>
      </PlainTable>
    </PlainTable.ScrollContainer>
  );
}

function valueOf(value: unknown): string {
  if (value === null || value === undefined) return 'none';
  if (typeof value === 'number') return count(value);
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value === 'object')
    return Object.entries(value)
      .map(([name, inner]) => `${titleOf(name)}: ${valueOf(inner)}`)
      .join('; ');
  return typeof value === 'boolean' || typeof value === 'string' ? String(value) : '';
}

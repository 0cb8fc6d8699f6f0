import {
  Alert,
  Anchor,
  Badge,
  Button,
  Code,
  Group,
  Modal,
  NumberInput,
  Paper,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  Tabs,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Plus } from 'lucide-react';
import { useState } from 'react';
import type { Static } from 'typebox';
import { Link, useLocation, useParams } from 'wouter';
import type { KeyView, MadeKeyView, UserView } from '../../../server/contract/accounts.ts';
import type { TransactionView } from '../../../server/contract/money.ts';
import type { MadeInvitationView, TenantDetail } from '../../../server/contract/operator-accounts.ts';
import { call, saveAs } from '../../api/client.ts';
import { useGet } from '../../api/queries.ts';
import { ActionButton, CopyText, useAction } from '../../ui/actions.tsx';
import { Form } from '../../ui/form.tsx';
import { count, moment } from '../../ui/format.ts';
import { Empty, Loaded, Page } from '../../ui/page.tsx';
import { PagedTable } from '../../ui/paged-table.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { ShownKey } from '../shown-key.tsx';

type Tenant = Static<typeof TenantDetail>;
type Key = Static<typeof KeyView>;

export default function TenantPage() {
  const { id } = useParams<{ id: string }>();
  const query = useGet<Tenant>(`/api/tenants/${encodeURIComponent(id)}`, { everyMs: 5_000 });
  return (
    <Page
      title={query.data?.name ?? 'Tenant'}
      about="Its terms, keys, people and credits."
      actions={
        <Button component={Link} href="/tenants" variant="default">
          All tenants
        </Button>
      }
    >
      <Loaded query={query}>{(tenant) => <Detail tenant={tenant} />}</Loaded>
    </Page>
  );
}

function Detail({ tenant }: { tenant: Tenant }) {
  return (
    <Stack>
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <Terms tenant={tenant} />
        <Credits tenant={tenant} />
      </SimpleGrid>
      <Tabs defaultValue="keys" keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="keys">Keys</Tabs.Tab>
          <Tabs.Tab value="people">People</Tabs.Tab>
          <Tabs.Tab value="transactions">Transactions</Tabs.Tab>
          <Tabs.Tab value="end">Export and end</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="keys" pt="md">
          <Keys tenant={tenant} />
        </Tabs.Panel>
        <Tabs.Panel value="people" pt="md">
          <People tenant={tenant} />
        </Tabs.Panel>
        <Tabs.Panel value="transactions" pt="md">
          <Transactions id={tenant.id} />
        </Tabs.Panel>
        <Tabs.Panel value="end" pt="md">
          <End tenant={tenant} />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

function Terms({ tenant: { id, plan, disabled, allowNSFW, open, overrides } }: { tenant: Tenant }) {
  const plans = useGet<Record<string, unknown>>('/api/plans');
  const change = useAction(async (body: object) => {
    await call('PATCH', `/api/tenants/${id}`, body);
    return 'Changed.';
  });
  return (
    <Paper withBorder p="md" component="section" aria-label="Terms">
      <Stack gap="sm">
        <Group justify="space-between">
          <Title order={2} size="h4">
            Terms
          </Title>
          <Badge color={disabled ? 'red' : 'teal'}>{disabled ? 'suspended' : 'active'}</Badge>
        </Group>
        <Select
          label="Plan"
          data={Object.keys(plans.data ?? { [plan]: null })}
          value={plan}
          allowDeselect={false}
          onChange={(to) => to !== null && to !== plan && change.mutate({ plan: to })}
        />
        {Object.keys(overrides).length > 0 && (
          <Text size="sm" c="dimmed">
            Other than the plan: <Code>{JSON.stringify(overrides)}</Code>
          </Text>
        )}
        <Switch
          label="May see and make explicit pictures"
          checked={allowNSFW}
          onChange={(event) => change.mutate({ allowNSFW: event.currentTarget.checked })}
        />
        <Switch
          label="Suspended: every request is refused"
          color="red"
          checked={disabled}
          onChange={(event) => change.mutate({ suspended: event.currentTarget.checked })}
        />
        <Text size="sm" c="dimmed">
          {open === 0 ? 'No request is open now.' : `${open} requests are open now.`}
        </Text>
      </Stack>
    </Paper>
  );
}

function Credits({ tenant: { id, balance } }: { tenant: Tenant }) {
  const [credits, setCredits] = useState<number | string>(100);
  const [reason, setReason] = useState('');
  const grant = useAction(async () => {
    const { moved } = await call<{ moved: number }>('POST', `/api/tenants/${id}/credits`, {
      credits: Number(credits),
      reason: reason.trim(),
    });
    setReason('');
    return moved < 0 ? `${count(-moved)} credits were taken back.` : `${count(moved)} credits were granted.`;
  });
  return (
    <Paper withBorder p="md" component="section" aria-label="Credits">
      <Form send={() => grant.mutate()}>
        <Title order={2} size="h4">
          Credits
        </Title>
        <Group gap="xl">
          <Sum name="To spend" value={balance.available} />
          <Sum name="Held for work" value={balance.held} />
          <Sum name="In all" value={balance.posted} />
        </Group>
        <Group align="flex-end" grow preventGrowOverflow={false}>
          <NumberInput
            label="Grant, or take back with a minus"
            value={credits}
            onChange={setCredits}
            allowDecimal={false}
            w={150}
          />
          <TextInput
            label="Reason, for the audit log"
            required
            minLength={3}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
          />
        </Group>
        <Group justify="flex-end">
          <Button type="submit" loading={grant.isPending} disabled={Number(credits) === 0 || credits === ''}>
            {Number(credits) < 0 ? 'Take back' : 'Grant'}
          </Button>
        </Group>
      </Form>
    </Paper>
  );
}

function Sum({ name, value }: { name: string; value: number }) {
  return (
    <div>
      <Text size="xs" c="dimmed">
        {name}
      </Text>
      <Text fw={700} size="lg">
        {count(value)}
      </Text>
    </div>
  );
}

function Keys({ tenant: { id, apiKeys } }: { tenant: Tenant }) {
  const [isMaking, making] = useDisclosure(false);
  const columns: readonly Column<Key>[] = [
    { title: 'Name', width: 'minmax(120px, 2fr)', show: ({ name }) => name },
    {
      title: 'Key',
      width: 'minmax(120px, 1fr)',
      show: ({ prefix, lastFour }) => <Code>{`${prefix}…${lastFour}`}</Code>,
    },
    { title: 'Last used', show: ({ lastUsedAt }) => (lastUsedAt === null ? 'never' : moment(lastUsedAt)) },
    { title: 'Expires', show: ({ expiresAt }) => (expiresAt === null ? 'never' : moment(expiresAt)) },
    {
      title: 'State',
      width: '100px',
      show: ({ revokedAt }) => (
        <Badge color={revokedAt === null ? 'teal' : 'gray'}>{revokedAt === null ? 'good' : 'revoked'}</Badge>
      ),
    },
    {
      title: 'Do',
      width: '110px',
      end: true,
      show: ({ id: key, name, revokedAt }) =>
        revokedAt === null && (
          <ActionButton
            size="compact-xs"
            variant="default"
            aria-label={`Revoke ${name}`}
            work={async () => {
              await call('DELETE', `/api/keys/${key}`);
              return 'Revoked: it is refused from now on.';
            }}
            confirm={{ title: 'Revoke it', text: `"${name}" is refused at once, and what runs on it ends.` }}
          >
            Revoke
          </ActionButton>
        ),
    },
  ];
  return (
    <Stack>
      <Group justify="flex-end">
        <Button leftSection={<Plus aria-hidden size={16} />} onClick={making.open}>
          New key
        </Button>
      </Group>
      <Table
        label="Keys"
        columns={columns}
        rows={apiKeys}
        keyOf={(key) => key.id}
        empty={<Empty title="No keys yet">A program of this tenant needs one to be let in.</Empty>}
      />
      <NewKey tenant={id} isOpen={isMaking} close={making.close} />
    </Stack>
  );
}

/** Makes a key, and shows it the only time it can be seen. */
function NewKey({ tenant, isOpen, close }: { tenant: string; isOpen: boolean; close: () => void }) {
  const [name, setName] = useState('');
  const [made, setMade] = useState<string | null>(null);
  const make = useAction(async () => {
    const { key } = await call<Static<typeof MadeKeyView>>('POST', `/api/tenants/${tenant}/keys`, {
      name: name.trim(),
    });
    setMade(key);
    return null;
  });
  const end = (): void => {
    close();
    setMade(null);
    setName('');
  };
  return (
    <Modal opened={isOpen} onClose={end} title="New key" centered closeOnClickOutside={made === null}>
      {made === null ? (
        <Form send={() => make.mutate()}>
          <TextInput
            label="Name"
            description="What it is for: an app, a machine, a person."
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            data-autofocus
          />
          <Group justify="flex-end">
            <Button type="submit" loading={make.isPending}>
              Make it
            </Button>
          </Group>
        </Form>
      ) : (
        <Stack>
          <ShownKey value={made} />
          <Group justify="flex-end">
            <Button onClick={end}>I have kept it</Button>
          </Group>
        </Stack>
      )}
    </Modal>
  );
}

function People({ tenant: { id, users, invitations } }: { tenant: Tenant }) {
  const [email, setEmail] = useState('');
  const [token, setToken] = useState<string | null>(null);
  const invite = useAction(async () => {
    const made = await call<Static<typeof MadeInvitationView>>('POST', '/api/invitations', {
      email: email.trim(),
      tenant: id,
    });
    setToken(made.token);
    setEmail('');
    return `${made.email} is invited.`;
  });
  const columns: readonly Column<Static<typeof UserView>>[] = [
    { title: 'Name', show: ({ name }) => name },
    { title: 'E-mail', width: 'minmax(160px, 2fr)', show: (user) => user.email },
    { title: 'Role', width: '90px', show: ({ role }) => role },
    {
      title: 'State',
      width: '110px',
      show: ({ disabled }) => (
        <Badge color={disabled ? 'red' : 'teal'}>{disabled ? 'disabled' : 'active'}</Badge>
      ),
    },
    {
      title: 'Do',
      width: '110px',
      end: true,
      show: ({ id: user, disabled, name }) => (
        <ActionButton
          size="compact-xs"
          variant="default"
          aria-label={`${disabled ? 'Enable' : 'Disable'} ${name}`}
          work={async () => {
            await call('PATCH', `/api/users/${user}`, { disabled: !disabled });
            return disabled ? 'Enabled.' : 'Disabled: signed out everywhere.';
          }}
        >
          {disabled ? 'Enable' : 'Disable'}
        </ActionButton>
      ),
    },
  ];
  return (
    <Stack>
      <Form send={() => invite.mutate()}>
        <Group align="flex-end">
          <TextInput
            label="Invite somebody by e-mail"
            type="email"
            required
            value={email}
            onChange={(event) => setEmail(event.currentTarget.value)}
            miw={260}
          />
          <Button type="submit" variant="default" loading={invite.isPending}>
            Invite
          </Button>
        </Group>
      </Form>
      {token !== null && (
        <Alert variant="light" title="The invitation, in case no mail is sent">
          <Group wrap="nowrap">
            <Code style={{ overflowWrap: 'anywhere' }}>{token}</Code>
            <CopyText text={token} />
          </Group>
        </Alert>
      )}
      <Table
        label="People"
        columns={columns}
        rows={users}
        keyOf={(user) => user.id}
        empty="Nobody signs in for this tenant"
      />
      {invitations.length > 0 && (
        <Text size="sm" c="dimmed">
          Invited: {invitations.map((one) => `${one.email} (until ${moment(one.expiresAt)})`).join(', ')}
        </Text>
      )}
    </Stack>
  );
}

function Transactions({ id }: { id: string }) {
  const columns: readonly Column<Static<typeof TransactionView>>[] = [
    { title: 'When', width: '140px', show: ({ at }) => moment(at) },
    { title: 'What', width: '80px', show: ({ kind }) => kind },
    { title: 'Why', width: 'minmax(160px, 3fr)', show: ({ reason }) => reason },
    {
      title: 'Credits',
      width: '90px',
      end: true,
      show: ({ credits }) => (credits > 0 ? `+${count(credits)}` : count(credits)),
    },
    {
      title: 'Held',
      width: '90px',
      end: true,
      show: ({ held }) => (held > 0 ? `+${count(held)}` : count(held)),
    },
  ];
  return (
    <Stack>
      <Group justify="flex-end">
        <ActionButton
          variant="default"
          work={async () => {
            await saveAs(`/api/tenants/${id}/transactions?format=csv`, 'transactions.csv');
            return null;
          }}
        >
          All as CSV
        </ActionButton>
      </Group>
      <PagedTable
        path={`/api/tenants/${id}/transactions`}
        label="Transactions"
        columns={columns}
        keyOf={(one) => one.id}
        empty="No credits have moved yet"
      />
    </Stack>
  );
}

function End({ tenant: { id, name } }: { tenant: Tenant }) {
  const [, go] = useLocation();
  return (
    <Stack align="flex-start">
      <Text size="sm">
        Everything that is held about this tenant, as JSON lines. See also{' '}
        <Anchor component={Link} href={`/audit?tenant=${id}`} underline="always">
          what was done to it
        </Anchor>
        .
      </Text>
      <ActionButton
        variant="default"
        work={async () => {
          await saveAs(`/api/tenants/${id}/export`, `${id}.jsonl`);
          return null;
        }}
      >
        Export
      </ActionButton>
      <ActionButton
        color="red"
        variant="outline"
        work={async () => {
          await call('DELETE', `/api/tenants/${id}`);
          go('/tenants');
          return `${name} is deleted.`;
        }}
        confirm={{
          title: 'Delete the tenant',
          text: 'Its people, keys, jobs, files and kept prompts are deleted, and its credits are void. What it cost stays in the books.',
          word: name,
        }}
      >
        Delete the tenant
      </ActionButton>
    </Stack>
  );
}

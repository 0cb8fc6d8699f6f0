import {
  Alert,
  Badge,
  Button,
  Code,
  Drawer,
  Group,
  Paper,
  SimpleGrid,
  Stack,
  Switch,
  Text,
  Title,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { QRCodeSVG } from 'qrcode.react';
import type { Static } from 'typebox';
import { Link } from 'wouter';
import type { LanView, SettingsView, TunnelView } from '../../../server/contract/console.ts';
import { call } from '../../api/client.ts';
import { useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { ActionButton, CopyText, useAction } from '../../ui/actions.tsx';
import { Loaded, Page, Problem } from '../../ui/page.tsx';
import { Logs } from '../logs.tsx';
import { RestartButton } from '../restart-button.tsx';

export default function NetworkPage() {
  return (
    <Page
      title="LAN and tunnel"
      about="How tenants reach this machine. The console itself is never reached from elsewhere."
    >
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <Lan />
        <TunnelCard />
      </SimpleGrid>
    </Page>
  );
}

/** An address, to copy or to take with a phone. */
function Address({ url, about }: { url: string; about: string }) {
  return (
    <Group justify="space-between" wrap="nowrap" align="flex-start">
      <Stack gap={4}>
        <Code style={{ overflowWrap: 'anywhere' }}>{url}</Code>
        <Text size="sm" c="dimmed">
          {about}
        </Text>
        <div>
          <CopyText text={url} />
        </div>
      </Stack>
      <QRCodeSVG value={url} size={104} marginSize={2} title={`${url} as a QR code`} />
    </Group>
  );
}

export function Lan() {
  const lan = useGet<Static<typeof LanView>>('/api/lan', { everyMs: 5_000 });
  const settings = useGet<Static<typeof SettingsView>>('/api/settings');
  const tenantUrl = useLive((state) => state.tenantUrl);
  const setting = (path: string) => settings.data?.find((one) => one.path === path);
  const change = useAction(async (set: object) => {
    await call('PATCH', '/api/settings', { set });
    return 'It comes into effect with a restart.';
  });
  const after = (path: string): unknown => {
    const one = setting(path);
    return one?.pending ? one.next : one?.value;
  };
  const isPending = setting('tenant.host')?.pending === true || setting('tenant.https')?.pending === true;
  return (
    <Paper withBorder p="md" component="section" aria-label="LAN">
      <Stack>
        <Title order={2} size="h4">
          LAN
        </Title>
        <Loaded query={lan}>
          {({ open, addresses, certificate }) => (
            <Stack>
              {open ? (
                addresses.map((url) => (
                  <Address key={url} url={url} about="The tenant API, from other machines here." />
                ))
              ) : (
                <Text size="sm">
                  Only this machine reaches the tenant API, at <Code>{tenantUrl}</Code>.
                </Text>
              )}
              {certificate && (
                <Alert
                  variant="light"
                  title={certificate.ours ? 'A certificate of our own' : 'Your certificate'}
                >
                  <Text size="sm" mb={6}>
                    {certificate.ours
                      ? 'Programs have to be told to trust it. Compare its fingerprint (SHA-256) with what they show:'
                      : 'Its fingerprint (SHA-256):'}
                  </Text>
                  <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
                    {certificate.fingerprint}
                  </Code>
                  <Group mt={6}>
                    <CopyText text={certificate.pem} label="Copy the certificate" />
                  </Group>
                </Alert>
              )}
            </Stack>
          )}
        </Loaded>
        <Switch
          label="Let other machines on the LAN in"
          description="Refused at the start while there is no key."
          checked={after('tenant.host') !== undefined && after('tenant.host') !== '127.0.0.1'}
          disabled={!settings.data}
          onChange={(event) =>
            change.mutate({ 'tenant.host': event.currentTarget.checked ? '0.0.0.0' : '127.0.0.1' })
          }
        />
        <Switch
          label="HTTPS"
          description="With the certificate of the settings, or one that is made here."
          checked={after('tenant.https') === true}
          disabled={!settings.data}
          onChange={(event) => change.mutate({ 'tenant.https': event.currentTarget.checked })}
        />
        {isPending && (
          <Alert variant="light" color="yellow" title="This waits for a restart">
            <RestartButton size="xs" />
          </Alert>
        )}
      </Stack>
    </Paper>
  );
}

export function TunnelCard() {
  const tunnel = useGet<Static<typeof TunnelView>>('/api/tunnel', { everyMs: 2_000 });
  const [isLogOpen, log] = useDisclosure(false);
  return (
    <Paper withBorder p="md" component="section" aria-label="Tunnel">
      <Stack>
        <Group justify="space-between">
          <Title order={2} size="h4">
            Cloudflare Tunnel
          </Title>
          {tunnel.data && (
            <Badge
              variant="light"
              color={tunnel.data.state === 'up' ? 'teal' : tunnel.data.state === 'off' ? 'gray' : 'yellow'}
            >
              {tunnel.data.state}
            </Badge>
          )}
        </Group>
        <Text size="sm">
          The way from the internet to the tenant API, and to nothing else. Cloudflare cuts an answer that has
          not begun after about 100 seconds, and bodies over 100 MB: long work belongs into jobs.
        </Text>
        <Loaded query={tunnel}>
          {({ state, mode, address, connections, problem }) => (
            <Stack>
              {problem !== null && <Problem error={new Error(problem)} />}
              {address !== null && state === 'up' && (
                <Address
                  url={address}
                  about={
                    mode === 'quick'
                      ? 'A quick tunnel: its address is another one at each start. Streams over GET are held back by it; the POST form of events is not.'
                      : `A named tunnel, with ${connections} connections.`
                  }
                />
              )}
              <Group gap="xs">
                {state === 'off' || state === 'failed' ? (
                  <ActionButton
                    work={async () => {
                      await call('POST', '/api/tunnel/start');
                      return 'The tunnel is open.';
                    }}
                  >
                    Open the tunnel
                  </ActionButton>
                ) : (
                  <ActionButton
                    variant="default"
                    work={async () => {
                      await call('POST', '/api/tunnel/stop');
                      return 'The tunnel is shut.';
                    }}
                  >
                    Shut the tunnel
                  </ActionButton>
                )}
                <Button variant="default" onClick={log.open}>
                  Log
                </Button>
                <Button component={Link} href="/settings" variant="subtle">
                  Token, address, place of cloudflared
                </Button>
              </Group>
            </Stack>
          )}
        </Loaded>
      </Stack>
      <Drawer opened={isLogOpen} onClose={log.close} position="right" size="xl" title="Log of cloudflared">
        {isLogOpen && <Logs path="/api/tunnel/logs" />}
      </Drawer>
    </Paper>
  );
}

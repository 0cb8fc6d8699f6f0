import {
  ActionIcon,
  Alert,
  AppShell,
  Badge,
  Burger,
  Group,
  Image,
  NavLink,
  ScrollArea,
  Text,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  Activity,
  Archive,
  Boxes,
  ChartColumn,
  CircleHelp,
  Cog,
  Coins,
  Cpu,
  Globe,
  Inbox,
  type LucideIcon,
  Mails,
  Moon,
  ScrollText,
  Sun,
  Tags,
  Users,
  Webhook,
  Workflow,
} from 'lucide-react';
import type { ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import { useStore } from 'zustand';
import { live, useLive } from '../api/live.ts';
import icon from './icon.svg';
import { PauseMenu } from './pause-menu.tsx';

interface Entry {
  readonly path: string;
  readonly title: string;
  readonly icon: LucideIcon;
}

const groups: readonly { readonly title: string; readonly entries: readonly Entry[] }[] = [
  { title: 'Now', entries: [{ path: '/', title: 'Dashboard', icon: Activity }] },
  {
    title: 'GPU',
    entries: [
      { path: '/engines', title: 'Engines', icon: Cpu },
      { path: '/models', title: 'Models', icon: Boxes },
    ],
  },
  {
    title: 'Tenants',
    entries: [
      { path: '/tenants', title: 'Tenants and keys', icon: Users },
      { path: '/jobs', title: 'Jobs', icon: Workflow },
      { path: '/usage', title: 'Usage', icon: ChartColumn },
      { path: '/offers', title: 'Plans and prices', icon: Tags },
      { path: '/ledger', title: 'Ledger', icon: Coins },
    ],
  },
  {
    title: 'Appliance',
    entries: [
      { path: '/network', title: 'LAN and tunnel', icon: Globe },
      { path: '/backups', title: 'Backups', icon: Archive },
      { path: '/settings', title: 'Settings', icon: Cog },
      { path: '/webhooks', title: 'Webhooks', icon: Webhook },
      { path: '/outbox', title: 'Outbox', icon: Mails },
      { path: '/audit', title: 'Audit', icon: ScrollText },
      { path: '/about', title: 'About', icon: CircleHelp },
    ],
  },
];

/** What is around every page: where one is, how the appliance stands, and the switch. */
export function Frame({ children }: { children: ReactNode }) {
  const [isOpen, menu] = useDisclosure(false);
  const [path] = useLocation();
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 220, breakpoint: 'sm', collapsed: { mobile: !isOpen } }}
      padding="lg"
    >
      <a className="skip" href="#main" onClick={focusMain}>
        Skip to the page
      </a>
      <AppShell.Header px="md">
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger
              opened={isOpen}
              onClick={menu.toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label={isOpen ? 'Close the menu' : 'Open the menu'}
            />
            <Image src={icon} w={30} h={30} alt="" />
            <Text fw={700} visibleFrom="xs">
              Kilnhouse
            </Text>
            <State />
          </Group>
          <Group gap="xs" wrap="nowrap">
            <PauseMenu />
            <SchemeSwitch />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar aria-label="Pages">
        <ScrollArea p="xs">
          {groups.map(({ title, entries }) => (
            <div key={title}>
              <Text size="xs" c="dimmed" fw={600} px="sm" pt="sm" pb={4}>
                {title}
              </Text>
              {entries.map(({ path: to, title: name, icon: Icon }) => (
                <NavLink
                  key={to}
                  component={Link}
                  href={to}
                  label={name}
                  leftSection={<Icon aria-hidden size={17} />}
                  active={to === '/' ? path === '/' : path.startsWith(to)}
                  aria-current={(to === '/' ? path === '/' : path.startsWith(to)) ? 'page' : undefined}
                  onClick={menu.close}
                  py={6}
                  style={{ borderRadius: 8 }}
                />
              ))}
            </div>
          ))}
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: 'none' }}>
        <Offline />
        {children}
      </AppShell.Main>
    </AppShell>
  );
}

/** The address holds the page, so that a fragment cannot. */
function focusMain(event: { preventDefault(): void }): void {
  event.preventDefault();
  document.querySelector<HTMLElement>('#main')?.focus();
}

function State() {
  const mode = useLive(({ gpu }) => gpu.mode);
  const isDemo = useLive(({ demo }) => demo);
  const trouble = useLive(
    ({ alerts }) => Object.values(alerts).filter(({ level }) => level === 'error').length,
  );
  const serving = useLive(({ engines }) => servingWords(Object.values(engines)));
  const connection = useStore(live, (state) => state.connection);
  const [color, text] =
    connection !== 'live'
      ? ['gray', 'Offline']
      : mode !== 'running'
        ? ['blue', mode === 'paused' ? 'Paused' : 'Holding']
        : trouble > 0
          ? ['red', 'Trouble']
          : serving === 'Serving'
            ? ['teal', serving]
            : ['yellow', serving];
  return (
    <Group gap={6} wrap="nowrap" role="status">
      <Badge color={color}>{text}</Badge>
      {isDemo && (
        <Badge color="gray" variant="outline" visibleFrom="xs">
          Demo
        </Badge>
      )}
    </Group>
  );
}

/** A stopped engine is the operator's own wish, and still means that not everything is served. */
function servingWords(engines: readonly { health: string }[]): string {
  const stopped = engines.filter(({ health }) => health === 'stopped').length;
  if (stopped === 0) return 'Serving';
  return stopped === engines.length ? 'Stopped' : 'Partly serving';
}

function Offline() {
  const connection = useStore(live, (state) => state.connection);
  if (connection !== 'offline') return null;
  return (
    <Alert
      color="yellow"
      title="The appliance does not answer"
      icon={<Inbox aria-hidden />}
      mb="md"
      role="alert"
    >
      What is shown is how it was. It is tried again by itself.
    </Alert>
  );
}

function SchemeSwitch() {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('dark');
  const next = scheme === 'dark' ? 'light' : 'dark';
  return (
    <ActionIcon
      variant="default"
      size="lg"
      aria-label={`Switch to the ${next} colours`}
      onClick={() => setColorScheme(next)}
    >
      {scheme === 'dark' ? <Sun aria-hidden size={18} /> : <Moon aria-hidden size={18} />}
    </ActionIcon>
  );
}

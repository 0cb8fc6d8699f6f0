import { Button, Checkbox, Menu, Text } from '@mantine/core';
import { Gamepad2, Hourglass, Pause, Play, Timer } from 'lucide-react';
import { useState } from 'react';
import { call } from '../api/client.ts';
import { useLive } from '../api/live.ts';
import { useAction } from '../ui/actions.tsx';
import { bytes, moment } from '../ui/format.ts';

interface Wish {
  readonly unload?: boolean;
  readonly minutes?: number;
  readonly whileProcess?: number;
  readonly stop?: boolean;
}

/** The switch: takes the GPU back, for as long as it is wanted, and gives it to the tenants again. */
export function PauseMenu() {
  const mode = useLive(({ gpu }) => gpu.mode);
  const pause = useLive((state) => state.pause);
  const programs = useLive(({ machine }) => machine?.card?.processes);
  const [stop, setStop] = useState(false);
  const begin = useAction(async (wish: Wish) => {
    const { message } = await call<{ message: string }>('POST', '/api/pause', { ...wish, stop });
    return message;
  });
  const resume = useAction(async () => {
    const { message } = await call<{ message: string }>('POST', '/api/resume');
    return message;
  });
  if (mode !== 'running') {
    const until = pause.until ? ` until ${moment(pause.until)}` : pause.pid ? ' until the program ends' : '';
    return (
      <Button
        color="teal"
        leftSection={<Play aria-hidden size={16} />}
        loading={resume.isPending}
        onClick={() => resume.mutate()}
      >
        Resume
        <Text span size="xs" visibleFrom="sm" ml={6}>
          {`(paused${until})`}
        </Text>
      </Button>
    );
  }
  return (
    <Menu position="bottom-end" width={300} shadow="md">
      <Menu.Target>
        <Button variant="default" leftSection={<Pause aria-hidden size={16} />} loading={begin.isPending}>
          Pause
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Checkbox
          px="sm"
          py={6}
          label="End what runs now"
          description="Requests get an error and are not charged; jobs go on later. Otherwise it finishes first."
          checked={stop}
          onChange={(event) => setStop(event.currentTarget.checked)}
        />
        <Menu.Label>Take the GPU back: models leave</Menu.Label>
        <Menu.Item
          leftSection={<Timer aria-hidden size={16} />}
          onClick={() => begin.mutate({ minutes: 60 })}
        >
          For an hour
        </Menu.Item>
        <Menu.Item leftSection={<Pause aria-hidden size={16} />} onClick={() => begin.mutate({})}>
          Until I resume
        </Menu.Item>
        {(programs ?? [])
          .filter(({ ours }) => !ours)
          .slice(0, 6)
          .map(({ pid, name, usedBytes }) => (
            <Menu.Item
              key={pid}
              leftSection={<Gamepad2 aria-hidden size={16} />}
              onClick={() => begin.mutate({ whileProcess: pid })}
            >
              Until {name.split(/[/\\]/).at(-1)} ends
              {usedBytes ? ` (${bytes(usedBytes)})` : ''}
            </Menu.Item>
          ))}
        <Menu.Divider />
        <Menu.Label>Only wait: models stay</Menu.Label>
        <Menu.Item
          leftSection={<Hourglass aria-hidden size={16} />}
          onClick={() => begin.mutate({ unload: false })}
        >
          Hold the queue
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

import { allocations, cardMib, usedMib } from './card.ts';
import { fault } from './faults.ts';

/* Stands in for `nvidia-smi -q -x`: the reading of the demonstration's card, in the driver's own format. */
const folder = process.env['STANDIN_DIR'] ?? '.';

if (fault(folder, 'smi_hang') !== null) setInterval(() => undefined, 60_000);
else if (fault(folder, 'smi_fail') !== null) {
  console.log("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.");
  process.exitCode = 9;
} else console.log(reading());

function reading(): string {
  const used = usedMib(folder);
  const busy = allocations(folder).some(({ program }) => program.includes('webui')) ? 35 : 4;
  const memory = fault(folder, 'smi_not_available') === null;
  const decimal = fault(folder, 'smi_localised') === null ? '.' : ',';
  const mib = (value: number): string => (memory ? `${value} MiB` : 'N/A');
  return `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>580.88</driver_version>
  <cuda_version>13.0</cuda_version>
  <attached_gpus>1</attached_gpus>
  <gpu id="00000000:01:00.0">
    <product_name>Demo RTX 3050 (stand-in)</product_name>
    <uuid>GPU-00000000-0000-0000-0000-0000000000de</uuid>
    <fb_memory_usage>
      <total>${mib(cardMib)}</total><reserved>${mib(181)}</reserved>
      <used>${mib(used)}</used><free>${mib(Math.max(0, cardMib - 181 - used))}</free>
    </fb_memory_usage>
    <utilization><gpu_util>${busy} %</gpu_util><memory_util>10 %</memory_util></utilization>
    <temperature><gpu_temp>48 C</gpu_temp><memory_temp>N/A</memory_temp></temperature>
    <gpu_power_readings>
      <power_draw>N/A</power_draw><instant_power_draw>62${decimal}35 W</instant_power_draw>
      <current_power_limit>130${decimal}00 W</current_power_limit>
    </gpu_power_readings>
    <processes>
${allocations(folder)
  .map(
    ({ pid, program, mib: held }) =>
      `      <process_info><pid>${pid}</pid><type>C</type><process_name>${program}</process_name><used_memory>${held} MiB</used_memory></process_info>`,
  )
  .join('\n')}
    </processes>
  </gpu>
</nvidia_smi_log>`;
}

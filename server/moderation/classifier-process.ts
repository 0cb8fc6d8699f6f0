import { setBackend, tensor3d } from '@tensorflow/tfjs';
import { setThreadsCount } from '@tensorflow/tfjs-backend-wasm';
import { load } from 'nsfwjs/core';
import { MobileNetV2Model } from 'nsfwjs/models/mobilenet_v2';
import sharp from 'sharp';
import { serveTool } from '../media/serve-tool.ts';

/* The process that looks at pictures: nsfwjs with the weights that come with it, on the WebAssembly backend. */
const side = 224;
setThreadsCount(1);
await setBackend('wasm');
const model = load('MobileNetV2', { modelDefinitions: [MobileNetV2Model] });

serveTool(async ({ bytes }: { bytes: Uint8Array }) => {
  const pixels = await sharp(bytes)
    .resize(side, side, { fit: 'fill' })
    .flatten({ background: '#ffffff' })
    .toColourspace('srgb')
    .raw()
    .toBuffer();
  const tensor = tensor3d(new Uint8Array(pixels), [side, side, 3], 'int32');
  try {
    const found = await (await model).classify(tensor, 5);
    return Object.fromEntries(found.map(({ className, probability }) => [className, probability]));
  } finally {
    tensor.dispose();
  }
});

import sharp, { type Sharp } from 'sharp';
import { limits } from '../contract/limits.ts';
import { ToolRefusal } from './tool-process.ts';

interface Size {
  readonly width: number;
  readonly height: number;
}

/** The bytes, or the path of a file of ours that holds them. */
export type PictureSource = Uint8Array | string;

/** What can be done with a picture that somebody sent. */
export type PictureWork =
  /** Its size as it is seen, from its head alone. */
  | { readonly kind: 'size'; readonly bytes: PictureSource }
  /** A clean PNG of a size. */
  | { readonly kind: 'source'; readonly bytes: PictureSource; readonly size: Size }
  /** A mask as engines want it: white where the picture is drawn anew. */
  | { readonly kind: 'mask'; readonly bytes: PictureSource; readonly size: Size }
  /** The same picture in the same format, made anew: upright, and without what its file said of people. */
  | { readonly kind: 'upload'; readonly bytes: PictureSource }
  /** A small one to show in lists. */
  | { readonly kind: 'thumbnail'; readonly bytes: PictureSource }
  /** The same PNG without the texts in it. */
  | { readonly kind: 'bare'; readonly bytes: PictureSource }
  /** The same picture in another format; quality from 1 to 100. */
  | {
      readonly kind: 'converted';
      readonly bytes: PictureSource;
      readonly format: 'jpeg' | 'webp';
      readonly quality: number;
    };

/** What comes of it. */
export interface PictureResult extends Size {
  readonly bytes: Uint8Array;
  readonly contentType: string;
}

const formats = ['png', 'jpeg', 'webp'] as const;
type Format = (typeof formats)[number];

// What libvips could read besides is none of ours: it is shut, so that no other decoder ever sees a stranger's file.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadPng', 'VipsForeignLoadJpeg', 'VipsForeignLoadWebp'] });

/** Does it. Throws ToolRefusal, whose message says of the picture what is wrong with it. */
export async function workOn(work: PictureWork): Promise<PictureResult> {
  const { picture, format, size } = await opened(work.bytes);
  try {
    switch (work.kind) {
      case 'size':
        return { ...size, bytes: new Uint8Array(), contentType: contentTypes[format] };
      case 'source': {
        const { width, height } = work.size;
        return await made(
          picture.rotate().resize(width, height, { fit: 'cover' }).removeAlpha().png(),
          'png',
        );
      }
      case 'mask':
        return await made(await maskOf(picture, work.size), 'png');
      case 'upload':
        return await made(encoded(picture.rotate(), format), format);
      case 'thumbnail': {
        const side = limits.thumbnailSide;
        return await made(
          picture.resize(side, side, { fit: 'inside', withoutEnlargement: true }).webp(),
          'webp',
        );
      }
      case 'bare':
        return await made(picture.png(), 'png');
      case 'converted':
        return await made(encoded(picture, work.format, work.quality), work.format);
    }
  } catch {
    throw new ToolRefusal('is damaged.');
  }
}

/** Reads the head, and refuses what is no picture, or would be too large once decoded. */
async function opened(bytes: PictureSource): Promise<{ picture: Sharp; format: Format; size: Size }> {
  const { pixels, ratio } = limits.upload;
  // The head alone, so that of a picture that is too large it can be said how large it is.
  const head = await sharp(bytes, { limitInputPixels: false, animated: false })
    .metadata()
    .catch(() => null);
  const format = formats.find((known) => known === head?.format);
  if (!head || !format) throw new ToolRefusal('is not a PNG, JPEG or WebP picture.');
  const { width, height } = head;
  if (width * height > pixels) throw new ToolRefusal(`has ${width}x${height} pixels; ${pixels} are allowed.`);
  if (Math.max(width, height) > ratio * Math.min(width, height))
    throw new ToolRefusal(`is ${width}x${height}; the longer side may be ${ratio} times the shorter one.`);
  if ((head.pages ?? 1) > 1) throw new ToolRefusal(`has ${head.pages} frames; one is allowed.`);
  const picture = sharp(bytes, { limitInputPixels: pixels, failOn: 'error', animated: false });
  const isTurned = (head.orientation ?? 1) >= 5;
  return { picture, format, size: isTurned ? { width: height, height: width } : { width, height } };
}

/**
 * OpenAI's masks say by transparency where to draw anew; one without transparency is taken to be black and white
 * already.
 */
async function maskOf(mask: Sharp, { width, height }: Size): Promise<Sharp> {
  const { hasAlpha } = await mask.metadata();
  const sized = mask.resize(width, height, { fit: 'fill' });
  return (hasAlpha ? sized.extractChannel('alpha').negate() : sized.removeAlpha().greyscale()).png();
}

function encoded(picture: Sharp, format: Format, quality = 95): Sharp {
  if (format === 'png') return picture.png();
  return format === 'jpeg'
    ? picture.jpeg({ quality, chromaSubsampling: '4:4:4' })
    : picture.webp({ quality });
}

async function made(picture: Sharp, format: Format): Promise<PictureResult> {
  const { data, info } = await picture.toBuffer({ resolveWithObject: true });
  return { bytes: data, width: info.width, height: info.height, contentType: contentTypes[format] };
}

const contentTypes = { png: 'image/png', jpeg: 'image/jpeg', webp: 'image/webp' } as const;

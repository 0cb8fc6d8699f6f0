import { workOn } from './picture-work.ts';
import { serveTool } from './serve-tool.ts';

/* The process that decodes pictures of strangers. */
serveTool(workOn);

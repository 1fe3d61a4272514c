// Prompts in the demonstration model's language. Some repeat themselves, so that lookup drafts hit and the context
// crosses block boundaries; some are a word or two.

export const PROMPTS: readonly string[] = [
  'export interface ',
  'export declare function create',
  'import { readFile } from ',
  '/** Returns the ',
  'declare module "fs" {\n  export function ',
  '## Installation\n\n```sh\nnpm install ',
  'export type Handler<T> = (event: T) => ',
  'readonly name: string;\n  readonly ',
  'export class EventEmitter {\n  on(event: string, listener: ',
  'interface Options {\n  /** Time in milliseconds. */\n  timeout?: number;\n  /** ',
  'export default ',
  'const a = 1',
  '# ',
  'export declare const version: string;\nexport declare const ',
  'type Keys<T> = { [K in keyof T]: ',
  'export interface Point {\n  x: number;\n  y: number;\n}\n\nexport interface Point3 {\n  x: number;\n  y: number;\n',
  'export declare function add(a: number, b: number): number;\nexport declare function sub(a: number, b: number): number;\nexport declare function mul(',
  '}\n\nexport ',
  'λ → 日本語 🙂 ',
  'export enum Color {\n  Red = 0,\n  Green = 1,\n',
]

/** Long and repetitive: decoding starts just below a block boundary and drafts hit often. */
export const COPYING_PROMPTS: readonly string[] = [4, 9, 14].map((times) =>
  'export interface Shape {\n  readonly kind: string;\n  area(): number;\n}\n\n'.repeat(times),
)

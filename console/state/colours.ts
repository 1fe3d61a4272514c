// Colours that carry a meaning: the scale of the heat map, and one hue per origin of a token.

import type { TokenOrigin } from '../../lib/console/frame.js'

type Rgb = readonly [red: number, green: number, blue: number]

/** From none to most; each step lighter (dark theme) or darker (light theme) than the one before. */
const SCALES: Readonly<Record<'dark' | 'light', readonly Rgb[]>> = {
  dark: [
    [24, 32, 44],
    [28, 66, 92],
    [22, 120, 126],
    [72, 180, 120],
    [222, 226, 92],
  ],
  light: [
    [240, 244, 247],
    [172, 216, 214],
    [84, 168, 172],
    [38, 104, 142],
    [40, 40, 96],
  ],
}

/** The colour of `share` (0 … 1) of the most; clamped, and the lowest for what is no number. */
export function heatColour(share: number, theme: 'dark' | 'light'): Rgb {
  const stops = SCALES[theme]
  const at = Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)) * (stops.length - 1)
  const below = Math.min(stops.length - 2, Math.floor(at))
  const a = stops[below]
  const b = stops[below + 1]
  if (a === undefined || b === undefined) return [0, 0, 0]
  const mix = (i: 0 | 1 | 2): number => Math.round(a[i] + (b[i] - a[i]) * (at - below))
  return [mix(0), mix(1), mix(2)]
}

/** Sources of drafts that have a colour of their own, as `--draft` names them; others share one. */
const SOURCES: readonly string[] = ['prompt-lookup', 'suffix', 'ngram', 'medusa', 'eagle', 'model']

/** The style of a token: `unknown`, `plain`, `bonus`, or its first source. */
export function originClass(origin: TokenOrigin): string {
  if (origin === '') return 'unknown'
  if (origin === 'plain' || origin === 'bonus') return origin
  const first = origin.split('+', 1)[0] ?? ''
  return SOURCES.includes(first) ? first : 'other'
}

/** What an origin means, in words. */
export function originWords(origin: TokenOrigin): string {
  if (origin === '') return 'came before a console was open'
  if (origin === 'plain') return 'plain: a step without drafts'
  if (origin === 'bonus') return 'bonus: sampled after the accepted path'
  return `accepted draft of ${origin.split('+').join(', ')}`
}

// The look of the report's page: its style, and the switch between light and dark (the reader's own setting first).

import { escapeHtml } from '../page/charts.js'

const LIGHT = `--page:#f7f8fa;--card:#fff;--ink:#1b2330;--soft:#5d6878;--rule:#e3e7ed;--a:#2f6fde;--b:#d9822b;--c:#2a9d6f;--bad:#d64545;--wait:#b9cdf3`
const DARK = `--page:#12161d;--card:#1a202a;--ink:#e6eaf0;--soft:#96a2b4;--rule:#2b3442;--a:#6aa0ff;--b:#f0a65a;--c:#5cc79b;--bad:#f07178;--wait:#33507f`

const STYLE = `
:root{color-scheme:light;${LIGHT}}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;${DARK}}}
:root[data-theme=dark]{color-scheme:dark;${DARK}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:14px/1.45 system-ui,sans-serif}
main{max-width:1220px;margin:0 auto;padding:24px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:28px 0 10px}
.sub{color:var(--soft)}.top{display:flex;gap:16px;align-items:start}.top>div{flex:1;min-width:0}
button{background:var(--card);color:var(--ink);border:1px solid var(--rule);border-radius:6px;padding:6px 10px;cursor:pointer}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin-top:18px}
.tile,figure,.card{background:var(--card);border:1px solid var(--rule);border-radius:8px}
.tile{padding:10px 12px}.tile b{display:block;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:12px}
.tile.bad b{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(440px,1fr));gap:12px}
@media (max-width:520px){.charts{grid-template-columns:1fr}}
figure{margin:0;padding:10px 12px;min-width:0}figure.wide{grid-column:1/-1}figcaption{font-weight:600;margin-bottom:4px}svg{width:100%;height:auto;display:block}
.legend{float:right;color:var(--soft);font-weight:400;font-size:12px}.legend i{display:inline-block;width:9px;height:9px;border-radius:2px;margin:0 4px 0 8px}
i.a{background:var(--a)}i.b{background:var(--b)}i.c{background:var(--c)}i.wait{background:var(--wait)}i.stream{background:var(--a)}i.bad{background:var(--bad)}i.soft{background:var(--soft)}
.grid{stroke:var(--rule)}.tick{fill:var(--soft);font-size:10.5px}.label{fill:var(--soft);font-size:11px}
.dots{fill-opacity:.6}.a{fill:var(--a)}.b{fill:var(--b)}.c{fill:var(--c)}.bad{fill:var(--bad)}.soft{fill:var(--soft)}.wait{fill:var(--wait)}.stream,.heat{fill:var(--a)}
.line{fill:none;stroke-width:1.8}.line.a{stroke:var(--a)}.line.b{stroke:var(--b)}.line.c{stroke:var(--c)}
.card{overflow-x:auto;padding:4px 12px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}th:first-child,td:first-child,td.word,th.word{text-align:left}td.word{white-space:normal}
tr:last-child td{border-bottom:0}th{color:var(--soft);font-weight:500}`

const SCRIPT = `document.querySelector('button').onclick=()=>{const r=document.documentElement;
const d=r.dataset.theme?r.dataset.theme==='dark':matchMedia('(prefers-color-scheme: dark)').matches;r.dataset.theme=d?'light':'dark'}`

export function page(title: string, subtitle: readonly string[], body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><main><div class="top"><div><h1>${escapeHtml(title)}</h1>${subtitle.map((line) => `<div class="sub">${escapeHtml(line)}</div>`).join('')}</div>
<button type="button">Light / dark</button></div>
${body}
</main><script>${SCRIPT}</script></body></html>
`
}

export const section = (title: string, content: string): string =>
  content === '' ? '' : `<h2>${escapeHtml(title)}</h2>\n${content}`

export const chartGrid = (charts: readonly string[]): string =>
  charts.filter(Boolean).length === 0 ? '' : `<div class="charts">${charts.join('\n')}</div>`

export interface Tile {
  readonly label: string
  readonly value: string
  readonly isBad?: boolean
}

export const tiles = (items: readonly Tile[]): string =>
  `<div class="tiles">${items
    .map(
      ({ label, value, isBad = false }) =>
        `<div class="tile${isBad ? ' bad' : ''}"><b>${escapeHtml(value)}</b><span>${escapeHtml(label)}</span></div>`,
    )
    .join('')}</div>`

/** The first row is the head; a cell that is no number is a word. */
export function table(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows
  const isWord = (text: string | undefined): boolean => text !== undefined && !/^-?[\d.]*%?$/.test(text)
  const cell = (text: string): string => `<td${isWord(text) ? ' class="word"' : ''}>${escapeHtml(text)}</td>`
  return (
    `<div class="card"><table><thead><tr>${head.map((text, i) => `<th${isWord(body[0]?.[i]) ? ' class="word"' : ''}>${escapeHtml(text)}</th>`).join('')}</tr></thead>` +
    `<tbody>${body.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('')}</tbody></table></div>`
  )
}

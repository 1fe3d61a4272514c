// The router serves uPlot's own module under this path.

export { default } from 'uplot'

/**
 * What makers say of their cards: GB/s of memory, tera-operations a second at half precision (dense), and
 * watts. From data sheets; where a card came in several makes, the usual or the slower one.
 *
 * Tested by test/models/speed.ts.
 */

export interface CardFacts {
  /** Bytes a second. */
  readonly bandwidth: number
  /** Operations a second, half precision. */
  readonly flops: number
  readonly watts: number
}

const TABLE = `
rtx 5090 laptop 896 100 150 / rtx 5080 laptop 896 75 150 / rtx 5070 ti laptop 672 55 115
rtx 5070 laptop 384 40 100 / rtx 5060 laptop 384 34 100 / rtx 5050 laptop 320 22 100
rtx 5090 1792 210 575 / rtx 5080 960 113 360 / rtx 5070 ti 896 88 300 / rtx 5070 672 62 250
rtx 5060 ti 448 47 180 / rtx 5060 448 38 145 / rtx 5050 320 26 130
rtx 4090 laptop 576 90 150 / rtx 4080 laptop 432 68 150 / rtx 4070 laptop 256 40 115
rtx 4060 laptop 256 30 115 / rtx 4050 laptop 192 22 115
rtx 4090 1008 165 450 / rtx 4080 super 736 104 320 / rtx 4080 717 97 320
rtx 4070 ti super 672 88 285 / rtx 4070 ti 504 80 285 / rtx 4070 super 504 71 220
rtx 4070 504 58 200 / rtx 4060 ti 288 44 160 / rtx 4060 272 30 115
rtx 3080 ti laptop 512 47 150 / rtx 3080 laptop 448 38 150 / rtx 3070 ti laptop 448 33 125
rtx 3070 laptop 448 32 125 / rtx 3060 laptop 336 21 115 / rtx 3050 laptop 192 14 80
rtx 3090 ti 1008 80 450 / rtx 3090 936 71 350 / rtx 3080 ti 912 68 350 / rtx 3080 760 59 320
rtx 3070 ti 608 43 290 / rtx 3070 448 41 220 / rtx 3060 ti 448 32 200 / rtx 3060 360 25 170
rtx 3050 224 18 130 / titan rtx 672 65 280 / titan v 653 59 250 / titan xp 548 12 250
rtx 2080 ti 616 54 250 / rtx 2080 super 496 45 250 / rtx 2080 448 40 215
rtx 2070 super 448 36 215 / rtx 2070 448 30 175 / rtx 2060 super 448 29 175 / rtx 2060 336 26 160
gtx 1660 super 336 10 125 / gtx 1660 ti 288 11 120 / gtx 1660 192 10 120
gtx 1650 super 192 9 100 / gtx 1650 128 6 75
gtx 1080 ti 484 11.3 250 / gtx 1080 320 8.9 180 / gtx 1070 ti 256 8.2 180 / gtx 1070 256 6.5 150
gtx 1060 192 4.4 120 / gtx 1050 ti 112 2.1 75
rtx pro 6000 1792 250 600 / rtx pro 5000 1344 170 300 / rtx pro 4500 896 105 200 / rtx pro 4000 672 93 140
rtx 6000 ada 960 182 300 / rtx 5000 ada 576 130 250 / rtx 4500 ada 432 79 210
rtx 4000 ada 360 53 130 / rtx 2000 ada 224 24 70 / rtx 4000 sff 280 38 70
rtx a6000 768 77 300 / rtx a5500 768 68 230 / rtx a5000 768 56 230 / rtx a4500 640 47 200
rtx a4000 448 38 140 / rtx a2000 288 16 70 / quadro rtx 8000 672 65 295 / quadro rtx 6000 672 65 295
quadro rtx 5000 448 45 230 / gb10 273 100 140
b200 8000 2250 1000 / gh200 4000 990 700 / h200 4800 990 700 / h100 nvl 3900 835 400
h100 pcie 2000 756 350 / h100 3350 990 700 / a100 80gb 1935 312 400 / a100 sxm4 80gb 2039 312 400
a100 1555 312 250 / a40 696 75 300 / a30 933 165 165 / a10g 600 70 300 / a10 600 125 150
a16 200 18 62 / a2 200 18 60 / l40s 864 181 350 / l40 864 90 300 / l4 300 60 72 / t4 320 65 70
v100 900 112 300 / p100 732 18.7 250 / p40 347 11.8 250 / p4 192 5.5 75 / m40 288 6.8 250
rx 9070 xt 640 97 304 / rx 9070 gre 432 68 220 / rx 9070 640 72 220 / rx 9060 xt 320 51 160
rx 7900 xtx 960 123 355 / rx 7900 xt 800 103 315 / rx 7900 gre 576 92 260 / rx 7800 xt 624 75 263
rx 7700 xt 432 70 245 / rx 7600 xt 288 45 190 / rx 7600 288 43 165
rx 6950 xt 576 47 335 / rx 6900 xt 512 46 300 / rx 6800 xt 512 41 300 / rx 6800 512 32 250
rx 6750 xt 432 27 250 / rx 6700 xt 384 26 230 / rx 6650 xt 280 21 180 / rx 6600 xt 256 21 160
rx 6600 224 18 132 / rx 6500 xt 144 11 107
radeon pro w7900 864 123 295 / radeon pro w7800 576 90 260 / radeon pro w6800 512 36 250
ai pro r9700 640 96 300 / radeon 8060s 256 59 120 / radeon 8050s 256 47 120
radeon 890m 120 12 35 / radeon 780m 90 8.5 35
mi355x 8000 2500 1400 / mi350x 8000 2300 1000 / mi325x 6000 1307 1000 / mi300x 5300 1307 750
mi300a 5300 980 550 / mi250x 3277 383 560 / mi250 3277 362 560 / mi210 1638 181 300
mi100 1229 184 300 / mi60 1024 29 300 / mi50 1024 26 300 / mi25 484 24 300
arc pro b60 456 98 200 / arc pro b50 224 85 70 / arc b580 456 58 190 / arc b570 380 46 150
arc a770 560 70 225 / arc a750 512 60 225 / arc a580 512 50 185 / arc a380 186 17 75
arc a310 124 12 75 / arc 140v 136 16 30 / arc 140t 120 16 45
m5 max 614 70 90 / m5 pro 307 35 60 / m5 153 17 30
m4 max 410 17 90 / m4 pro 273 8.5 50 / m4 120 4.3 25
m3 ultra 819 28 160 / m3 max 300 14 80 / m3 pro 150 6.4 40 / m3 100 3.5 22
m2 ultra 800 27 150 / m2 max 400 13.6 80 / m2 pro 200 6.8 40 / m2 100 3.6 22
m1 ultra 800 21 140 / m1 max 400 10.4 70 / m1 pro 200 5.2 40 / m1 68 2.6 20`

const ROW = /^(.+?) ([\d.]+) ([\d.]+) ([\d.]+)$/

const CARDS: readonly (readonly [words: readonly string[], facts: CardFacts])[] = TABLE.split(
  /[/\n]/,
)
  .map((row) => ROW.exec(row.trim()) ?? [])
  .filter(([, name]) => name !== undefined)
  .map(([, name = '', bandwidth, flops, watts]) => [
    name.split(' '),
    {
      bandwidth: Number(bandwidth) * 1e9,
      flops: Number(flops) * 1e12,
      watts: Number(watts),
    },
  ])

/**
 * @param name as a driver writes it, such as `NVIDIA GeForce RTX 3060 Ti`
 * @returns undefined: it is not in the table
 */
export function cardFacts(name: string): CardFacts | undefined {
  const words = name
    .toLowerCase()
    .replace(/(\d)(ti|super|xtx|xt)\b/g, '$1 $2')
    .split(/[^a-z0-9]+/)
  let best: (typeof CARDS)[number] | undefined
  for (const row of CARDS)
    if (
      row[0].every((word) => words.includes(word)) &&
      row[0].length > (best === undefined ? 0 : best[0].length)
    )
      best = row
  return best?.[1]
}

export function knownCards(): readonly string[] {
  return CARDS.map(([words]) => words.join(' '))
}

/** Ways to take the noise out of a picture, by names that belong to no engine. Each adapter has its own for them. */
export type Sampler =
  | 'euler'
  | 'euler-a'
  | 'heun'
  | 'dpmpp-2m'
  | 'dpmpp-2m-karras'
  | 'dpmpp-sde-karras'
  | 'ddim'
  | 'unipc'
  | 'lcm';

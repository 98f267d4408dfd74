"""How a street scene is made; `make_street_scenes` draws sets of them. Needs NumPy and Pillow, and nothing of kseg's.

It does not try to look like photographs. It is made so that shape, place and texture are needed to tell the classes
apart: greys are shared by roads, cars and houses, and light, haze and sensor noise vary from scene to scene.

A scene is a pure function of (seed, unseen_void, height, width, split, its number in the split): a larger set begins
with the scenes of a smaller one, and the number of processes changes no byte. `options` has these, the cities, and
which scene has which feature. `scene.draw_scene` makes one:

1. `world.World`: the city's camera, the scene's light, an empty canvas of twice the size.
2. `plan`: what stands where, in metres. Each thing waits in a queue, at its depth: `buildings`, `structures` (bridges,
   tunnels, walls, fences), `vehicles`, `figures` (people and what they ride), `roadside` (posts, signs, plants), and
   void (`void`, `void_still`, `void_unseen`), which comes in families: a shape and its textures. `materials` has ids,
   colours and textures.
3. `ground`: the sky and the street plane are painted.
4. The queue is painted from far to near. Every stroke goes into the picture and into the label map, from the same
   outline (`canvas`).
5. `scene`: both are halved, area mean for the picture, every second pixel for the labels. Bonnet and border are added,
   then exposure and noise.

`make.make_set` writes a set in Cityscapes' folder layout. Void comes in Cityscapes' own proportions (train gtFine:
geometry 7.4 % of all pixels, scene 2.9 %, dropped 1.2 %). With --unseen_void the ids dynamic, caravan and trailer occur
in val only, and only in families that are drawn nowhere else; without it those families are never drawn.
"""

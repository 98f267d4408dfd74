"""Label tables of large published data sets: names, ids and colours as published, each with its source in a comment."""

from tfrecords import labels
from tfrecords.conversion.folder import tables


def _table(name: str, names: str, colors: str, first: int, more=()) -> labels.LabelTable:
    entries = enumerate(zip(names.split("|"), colors.split()), first)
    rows = [{"id": number, "name": label, "color": color} for number, (label, color) in entries]
    return tables.from_rows(name, [*more, *tables.with_void_names(rows)])


# MIT Scene Parsing Benchmark (ADEChallengeData2016), objectInfo150.txt, the first of each entry's names; 0 is all other
# objects, which the benchmark leaves out. Colours are those of its color150.mat.
_ADE20K_NAMES = (
    "wall|building|sky|floor|tree|ceiling|road|bed|windowpane|grass|cabinet|sidewalk|person|earth|door|table|"
    "mountain|plant|curtain|chair|car|water|painting|sofa|shelf|house|sea|mirror|rug|field|armchair|seat|fence|desk|"
    "rock|wardrobe|lamp|bathtub|railing|cushion|base|box|column|signboard|chest of drawers|counter|sand|sink|"
    "skyscraper|fireplace|refrigerator|grandstand|path|stairs|runway|case|pool table|pillow|screen door|stairway|"
    "river|bridge|bookcase|blind|coffee table|toilet|flower|book|hill|bench|countertop|stove|palm|kitchen island|"
    "computer|swivel chair|boat|bar|arcade machine|hovel|bus|towel|light|truck|tower|chandelier|awning|streetlight|"
    "booth|television receiver|airplane|dirt track|apparel|pole|land|bannister|escalator|ottoman|bottle|buffet|"
    "poster|stage|van|ship|fountain|conveyer belt|canopy|washer|plaything|swimming pool|stool|barrel|basket|"
    "waterfall|tent|bag|minibike|cradle|oven|ball|food|step|tank|trade name|microwave|pot|animal|bicycle|lake|"
    "dishwasher|screen|blanket|sculpture|hood|sconce|vase|traffic light|tray|ashcan|fan|pier|crt screen|plate|"
    "monitor|bulletin board|shower|radiator|glass|clock|flag"
)
_ADE20K_COLORS = (
    "787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33 ff0652 "
    "8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 "
    "ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff "
    "8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff "
    "00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff "
    "ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52 000aff 0070ff 3300ff 00c2ff 007aff "
    "00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 "
    "5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 "
    "0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff "
    "b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff"
)
ADE20K = _table(
    "ade20k", _ADE20K_NAMES, _ADE20K_COLORS, 1, [{"id": 0, "name": "other", "void": "scene", "color": "#000000"}]
)

# Audi's A2D2, camera_lidar_semantic/class_list.json, in its order: labels are pictures in these colours, so that ids
# are this project's. Numbered names tell touching objects apart. It names no void; the own car stands at a fixed place.
_A2D2_NAMES = (
    "Car 1|Car 2|Car 3|Car 4|Bicycle 1|Bicycle 2|Bicycle 3|Bicycle 4|Pedestrian 1|Pedestrian 2|Pedestrian 3|Truck 1|"
    "Truck 2|Truck 3|Small vehicles 1|Small vehicles 2|Small vehicles 3|Traffic signal 1|Traffic signal 2|"
    "Traffic signal 3|Traffic sign 1|Traffic sign 2|Traffic sign 3|Utility vehicle 1|Utility vehicle 2|Sidebars|"
    "Speed bumper|Curbstone|Solid line|Irrelevant signs|Road blocks|Tractor|Non-drivable street|Zebra crossing|"
    "Obstacles / trash|Poles|RD restricted area|Animals|Grid structure|Signal corpus|Drivable cobblestone|"
    "Electronic traffic|Slow drive area|Nature object|Parking area|Sidewalk|Ego car|Painted driv. instr.|"
    "Traffic guide obj.|Dashed line|RD normal street|Sky|Buildings|Blurred area|Rain dirt"
)
_A2D2_COLORS = (
    "ff0000 c80000 960000 800000 b65906 963204 5a1e01 5a1e1e cc99ff bd499b ef59bf ff8000 c88000 968000 00ff00 00c800 "
    "009600 0080ff 1e1c9e 3c1c64 00ffff 1edcdc 3c9dc7 ffff00 ffffc8 e96400 6e6e00 808000 ffc125 400040 b97a57 000064 "
    "8b636c d23273 ff0080 fff68f 960096 ccff99 eea2ad 212cb1 b432b4 ff46b9 eee9bf 93fdc2 9696c8 b496c8 48d1cc c87dd2 "
    "9f79ee 8000ff ff00ff 87ceff f1e6ff 60458f 352e52"
)
A2D2 = _table("a2d2", _A2D2_NAMES, _A2D2_COLORS, 0)

# Mapillary Vistas v1.2, config.json: "readable" names in its order; the one label that it does not evaluate is void.
_MAPILLARY_NAMES = (
    "Bird|Ground Animal|Curb|Fence|Guard Rail|Barrier|Wall|Bike Lane|Crosswalk - Plain|Curb Cut|Parking|"
    "Pedestrian Area|Rail Track|Road|Service Lane|Sidewalk|Bridge|Building|Tunnel|Person|Bicyclist|Motorcyclist|"
    "Other Rider|Lane Marking - Crosswalk|Lane Marking - General|Mountain|Sand|Sky|Snow|Terrain|Vegetation|Water|"
    "Banner|Bench|Bike Rack|Billboard|Catch Basin|CCTV Camera|Fire Hydrant|Junction Box|Mailbox|Manhole|Phone Booth|"
    "Pothole|Street Light|Pole|Traffic Sign Frame|Utility Pole|Traffic Light|Traffic Sign (Back)|"
    "Traffic Sign (Front)|Trash Can|Bicycle|Boat|Bus|Car|Caravan|Motorcycle|On Rails|Other Vehicle|Trailer|Truck|"
    "Wheeled Slow|Car Mount|Ego Vehicle|Unlabeled"
)
_MAPILLARY_COLORS = (
    "a52a2a 00c000 c4c4c4 be9999 b4a5b4 5a7896 66669c 8040ff 8c8cc8 aaaaaa faaaa0 606060 e6968c 804080 6e6e6e f423e8 "
    "966464 464646 96785a dc143c ff0000 ff0064 ff00c8 c88080 ffffff 40aa40 e6a032 4682b4 beffff 98fb98 6b8e23 00aa1e "
    "ffff80 fa001e 648cb4 dcdcdc dc8080 de2828 64aa1e 282828 212121 6480a0 8e0000 466496 d2aa64 999999 808080 000050 "
    "faaa1e c0c0c0 dcdc00 8c8c14 770b20 9600ff 003c64 00008e 00005a 0000e6 005064 804040 00006e 000046 0000c0 202020 "
    "780a0a 000000"
)
MAPILLARY_V1_2 = tables.from_rows(
    "mapillary_v1.2",
    [
        {"id": number, "name": name, "color": color, "void": "scene" if name == "Unlabeled" else ""}
        for number, (name, color) in enumerate(zip(_MAPILLARY_NAMES.split("|"), _MAPILLARY_COLORS.split()))
    ],
)

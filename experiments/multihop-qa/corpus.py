"""A small encyclopaedia of Harrowmere, a town that does not exist: title and text of each passage."""

PASSAGES = (
    (
        "Lantern House",
        "A tall brick house at the top of Cable Hill, finished in 1893 for the tea merchant Edwin Soames. The architect Tilda Marrow put a glass room on the roof; the lamp in it could be seen from the harbour.",
    ),
    (
        "Tilda Marrow",
        "Born in 1851 in Oxley Fen, sixth child of a ferryman. Trained in Ghent, came to Harrowmere in 1880 and drew eleven buildings for it. Died 1919.",
    ),
    (
        "Fountain on Cooper's Green",
        "Drinking fountain of pink granite, given to the town in 1888 by the Temperance Ladies. The designer Tilda Marrow refused a fee and asked for a bench instead, which is still there.",
    ),
    (
        "Clock of Saint Osyth",
        "The church clock has one hand only and loses four minutes a week. Its maker Jonas Pell was paid in herring, or so the parish book of 1771 says.",
    ),
    (
        "Jonas Pell",
        "Clockmaker, 1738 to 1802. Kept his workshop in Needle Lane, above a hatter, and left 63 clocks, nine of them still going.",
    ),
    (
        "The Salt Road",
        "Novel of 1948 about two sisters who smuggle salt over the moor. Printed by Frank Hessel in 500 copies, sold out in a week. The author Ida Corran never wrote of the moor again.",
    ),
    (
        "Ida Corran",
        "Teacher and novelist (1904–1981). For 31 years she stood in front of a class at the Harbour School, where hardly anybody knew about the books.",
    ),
    (
        "Harrowmere Anthem",
        "Sung at launches, at weddings and before every home game. The words are by a committee, the tune is by Bertil Osk, who sold it to the town in 1926 for a bicycle.",
    ),
    (
        "Bertil Osk",
        "Organist. His open rehearsals, held on a Thursday all his life, were for many the only heated hour of the week. He died in 1960, in the middle of a fugue.",
    ),
    (
        "Fish market mural",
        "Forty metres of herring, gulls and one cat on the north wall; it took two summers. The painter Noor Adeyemi hid her neighbours among the fishwives.",
    ),
    (
        "Noor Adeyemi",
        "Painter, born 1978. Her studio is a former sail loft in Rope Walk; ring twice. Her best known picture hangs in the ferry terminal.",
    ),
    (
        "Wendside FC",
        "Football club of the lower town, founded in 1902 by dockers, black and amber. Record scorer Gus Tallow has a corner of the clubhouse to himself, with his boots and a stuffed pike.",
    ),
    (
        "Gus Tallow",
        "Centre forward from 1921 to 1938: 212 goals in 301 games, one of them with his back. Afterwards he kept a tobacco shop in Ferry Street.",
    ),
    (
        "Lifeboat station",
        "On the east mole since 1866. The first coxswain was Amos Trewin; the present one, Carla Bright, is his great-great-granddaughter.",
    ),
    (
        "Amos Trewin",
        "In 27 years he and his crews brought 94 people ashore. A silver medal came in 1879. He wore it once, to have it photographed.",
    ),
    (
        "Botanic Steps",
        "199 steps and about as many kinds of plants between quay and upper town, laid out in 1901 by Hedda Quill, against the wishes of Mayor Oswin Plume, who wanted a tram.",
    ),
    (
        "Hedda Quill",
        "Gardener, 1866 to 1947. A climbing rose is named after her. It has yellow flowers, which she could not abide: she grew white ones only.",
    ),
    (
        "Wend Observatory",
        "A copper dome on Gallow Hill, open on clear Friday nights. The founder Silas Okafor paid for the telescope with what his umbrella factory earned.",
    ),
    (
        "Silas Okafor",
        "Maker of umbrellas, born 1859. He found a comet in 1911, named it after his mother, and died in 1924 waiting for another.",
    ),
    (
        "Blue Heron",
        "Bakery at the fish market, known for rye bread and short tempers. Closed on Monday. Behind the counter: Petra Lindqvist and her two sons.",
    ),
    (
        "Petra Lindqvist",
        "Baker and rower, third at the nationals of 1996. On a Wednesday she trains the ladies' eight, whatever the weather, and on a Friday she is hoarse.",
    ),
    (
        "Harrowmere Gazette",
        "The weekly paper since 1856; four pages, eight at Christmas. The editor Wilf Naismith, who stayed longest, wrote the letters to himself when none came.",
    ),
    (
        "Wilf Naismith",
        "Journalist. Ran the paper from 1919 to 1955 and was mayor in 1934, for eleven weeks. Lodged all his life with his sister in Pump Court.",
    ),
    (
        "Knights of the Wend",
        "Chess club; meets above the Grey Swan on a Tuesday. The founder Rosa Imbert beat the harbour master Ned Garrick there in nine moves.",
    ),
    (
        "Rosa Imbert",
        "Came from Lille in 1940 with a pocket chess set. She once played 40 boards at a time, blindfold. She lost two games, both to children.",
    ),
    (
        "Harbour School",
        "Opened in 1877 with 60 pupils and a leaking roof. The first head was Agnes Dunmore; the roof was mended under the third.",
    ),
    (
        "Agnes Dunmore",
        "Headmistress, born in Cairn Bay in 1843. She banned the cane, kept bees, and at 70 married the caretaker, Tom Askew.",
    ),
    (
        "Sundial in Priory Garden",
        "A slate dial that is wrong by nine minutes, cut in 1833 by the mason Ephraim Lund at the bidding of Canon Peter Wray.",
    ),
    (
        "Ephraim Lund",
        "He made 412 gravestones that we know of, the last one, unfinished, his own. Lund Street is named after somebody else.",
    ),
    (
        "Grey Swan",
        "Inn of 1690 in Malt Street, with a ghost that only guests from abroad have seen. Landlord Terry Vance serves what the brewery Oddie & Sons brews, and nothing else.",
    ),
    (
        "Oddie & Sons",
        "Founded in 1823 by the widow Hester Oddie, who had no sons. Pulled by 14 horses, the drays still go round the town. The label has been red since 1902.",
    ),
    (
        "Iron Bridge",
        "Footbridge of 1858 across the Wend, 38 metres long. Caleb Strang drew it, the foundry Farrow & Bell cast it, and it sways.",
    ),
    (
        "Farrow & Bell",
        "Ironworks by the canal, opened in 1809. At its height 260 men worked there. It closed in 1931 and is a climbing hall now.",
    ),
    (
        "Harrowmere Pier",
        "310 metres, of which 40 were lost in the storm of 1953. The builders Keld Brothers had never made a pier before, and it shows.",
    ),
    (
        "Keld Brothers",
        "Three brothers and a cousin who started in 1861 with a wheelbarrow. Their yard in Chapel Row has been a car park since 1990.",
    ),
    (
        "Council chamber",
        "Oak, brass, and a deep green carpet of 1897 from the looms of Lisle Mill. Whoever speaks for more than ten minutes is rung down, by a rule of Mayor Oswin Plume.",
    ),
    (
        "Lisle Mill",
        "Carpet works, 1848 to 1962. In the Great War its chimney was painted blue, so that airships would take it for sky. It helped, or nobody came.",
    ),
    (
        "Marmalade Fair",
        "On the quay, last weekend of January. In 2019 the judges fell out over ginger. The chief sponsor Brant Preserves sends a barrel of peel.",
    ),
    (
        "Brant Preserves",
        "Jam factory, founded in 1911 by the chemist Lotte Brant. Tours on a Tuesday, with hair nets; the shop is shut on a Saturday.",
    ),
    (
        "Organ of Saint Osyth",
        "Two manuals, 1868, enlarged in 1929. The builders Haldane & Pike left a mousetrap inside, which is now listed as well.",
    ),
    (
        "Haldane & Pike",
        "Workshop in Bellows Yard until 1937. They delivered 88 organs, one of them to a whaling station in the ice.",
    ),
    (
        "Tram line 3",
        "From the station to Gallow Hill, 1904 to 1951. The cars came from Wexcombe Works and were cream, later grey.",
    ),
    (
        "Wexcombe Works",
        "Maker of trams, hearses and prams. The last owner was Rupert Wex, in whose time, in 1958, the works burned down. Nobody was insured.",
    ),
    (
        "Captain's Chair",
        "Pub on the quay without food or music. The counter is made of planks of the schooner Merry Tabitha. The chair has been stolen six times.",
    ),
    (
        "Merry Tabitha",
        "Built at Cairn Bay and launched in 1844. Carried slate until 1886, when Captain Enoch Sallow put her on the Teeth in fog; all were saved.",
    ),
    (
        "Skerry Island",
        "An hour away, 26 people. The ferry Lady Ottoline calls twice a day; the shop of Joan Fairley opens when she does.",
    ),
    (
        "Lady Ottoline",
        "From Bergen, 1963. Carries 120 passengers and one cow. By a mistake in the order her hull is green; her whistle gives an E flat.",
    ),
    (
        "Seamen's Chapel",
        "Whitewashed, 1851. The bell is that of the barque Constant Anne and rings of itself in a north wind, they say.",
    ),
    (
        "Constant Anne",
        "410 tons, owned by Lucas Bey. She was wrecked in 1869 below Gallow Hill with a cargo of oranges, and the town ate them for weeks.",
    ),
    (
        "Whale jaw arch",
        "Stands over the entrance to Priory Garden. The whaler Northern Hope brought the two bones home in 1838; what one sees since 1999 is fibreglass.",
    ),
    (
        "Northern Hope",
        "She had a crew of 49 and made 17 voyages to the ice. Broken up in 1860, some say at the request of her own cook.",
    ),
    (
        "Pilot's Cottage",
        "Home of the last pilot, Jem Rudd. Over the mantelpiece hangs the wheel of the tug Sturdy Beggar, which he won at cards.",
    ),
    (
        "Sturdy Beggar",
        "Steam tug, 1907 to 1946. Red funnel with a white band. In 1915 she towed 31 barges at once, a record that nobody wishes to break.",
    ),
    (
        "Wednesday market",
        "Cheese, rope and gossip from six in the morning; held since 1772 in Tanner's Square. Ivo Stanhope, the clerk, rings it in with a pan lid.",
    ),
    (
        "Tanner's Square",
        "The smell has gone, the name has not. First paved in 1804; a pump, 12 lime trees, a statue of nobody in particular.",
    ),
    (
        "Museum of Rope",
        "Three floors of knots, since 1969 in Hobday Hall. The collector Miriam Stott could tie all of them, some with one hand.",
    ),
    (
        "Hobday Hall",
        "Built in 1790 for the sugar merchant Josiah Hobday. The ballroom has 31 cherubs on its ceiling, one of them with spectacles.",
    ),
    (
        "Snowdrop Walk",
        "Two miles along the Wend, best in February, planned by Ellen Voss. It begins at Fennel Farm, where boots can be washed.",
    ),
    (
        "Fennel Farm",
        "The farmer is Marta Vane, and each of her 54 cows has a name. There is a shop with cheese and socks, closed on a Sunday.",
    ),
    (
        "Silver Band",
        "Brass, loud, twice third in the county. Maud Pringle conducts it. It rehearses on a Monday in the Corn Exchange, which has no neighbours.",
    ),
    (
        "Corn Exchange",
        "A roof of glass on 18 iron trees, opened in 1872 by a duke who had come for something else. It holds 640 people, or corn.",
    ),
    (
        "Ghost bus",
        "The night bus of 3 March 1976. The driver Colin Marsh lost his way and ended up at Kittiwake Point with nine passengers asleep.",
    ),
    (
        "Kittiwake Point",
        "A cliff, a bench, and a lighthouse built in 1829. For 40 years Dinah Rowe kept the light, which is white, to the south red.",
    ),
    (
        "Regatta",
        "First Saturday in August. The boats start from Mallow Stairs; Ned Garrick, harbour master, gives the prizes, and the soup is free.",
    ),
    (
        "Mallow Stairs",
        "Landing place cut in 1698: 34 steps, the lower ones green with weed. Isaac Thew, the last boatman there, could not swim.",
    ),
    (
        "Harrowmere",
        "Harbour town of 21,400 people at the mouth of the Wend, granted a market in 1312. Upper town, lower town, and 199 steps between the two.",
    ),
    (
        "River Wend",
        "Rises on the moor and takes 61 miles to the sea. In the town it is crossed by five bridges. Frozen over in 1740, 1814 and 1963.",
    ),
    (
        "Storm of 1953",
        "On the last night of January the sea came up to the second shelf of the chemist's. Eleven boats were found in Orchard Road.",
    ),
    (
        "Gallow Hill",
        "Nobody was ever hanged there. 94 metres, with a dome, a bench and a flagpole; the view takes in the harbour and Skerry Island.",
    ),
    (
        "Ferry terminal",
        "Glass and wind, 1988. Ferries, a kiosk, a lost property office where teeth are kept for a year and umbrellas for a week.",
    ),
    (
        "Herring Week",
        "The first in October. Herring is thrown, smoked, sung about and, on the Sunday, forgiven. Founded in 1931 by the inns.",
    ),
    (
        "Harrowmere Station",
        "Terminus of a line that was to go on. The clock was built to be fast by two minutes; the buffet was closed in 1994.",
    ),
    (
        "Plume's Rule",
        "Since Mayor Oswin Plume nobody may speak in the chamber for more than ten minutes. He himself is said to have spoken for 40 on it.",
    ),
    (
        "Streets of the town",
        "Needle Lane, Rope Walk, Pump Court, Chapel Row: most streets of the lower town are named after what was made, fetched or prayed for there.",
    ),
    (
        "Schools",
        "Two primary schools, the Harbour School, an evening class in knots. Teachers are said to outlive pilots by nine years.",
    ),
    (
        "Painters",
        "They come for the light and stay because of the rent. A guide of 1961 counts 31 painters, and two who could paint.",
    ),
)

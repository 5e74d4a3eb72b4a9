"""PyTorch files, written by PyTorch 2.13 and read without it: values, types, states, malice, damage."""

import base64
import io
import json
import os
import pickle
import zipfile
import zlib

import numpy as np
import pytest

from lltc.checkpoints import find_checkpoints, open_checkpoint
from lltc.errors import CheckpointError

# What `torch.save` wrote, compressed: `views` and `views_legacy` (not zipped) hold views of arange(6) and
# [1, 2, 4] in ten types; `training` the usual dict around model_state_dict; `module` a whole
# nn.Sequential(nn.Linear(3, 2)) and `shard_1`, `shard_2` its weight and its bias.
WRITTEN = {
    "views": (
        "c-o~{S!^3c7+xQ761O>erY)s3Ty<#c`aasEaoyk+w$NmIU;@Q#>`m-;ef;(~Z3?A<Hfh7zf>a?S3gW4+AS4hE2=TxR5(vZt6}<7l"
        "B?00I2_Bf)S#NeGhg*A<%_{5pj(_H#{~u>qwAlrrtxZ^PbqlKnxtz}CCY4<o8OiR_DK!!A6h@hA+IkKISJHt2s9G*48L*^L5yRZ6"
        "D$1!9XR54>RdZ@4g_J_2SWZp)oM3gilC2m~!6W4f1#A@JOsGW}9icCsU{6}`7!R~0ZTOikRly-T5VVenf@l-1v(P45MB6O1&!y8v"
        "RaMd`S1eSVhsznItYn6AY2*ZFp9CuqtdyW5X(t}#oC=*;Y#?jP+OsWLjk0S*w2Rgm=oT$Auxc(#P^%HFkzj3-%uHD+DKf&bt>cmF"
        "M?@<@_K3m^Y@o=E2sTM@hc+jbw5-Zy*j&SDA$j3WjJ6=yf<x)+qo}(OY?Yul*@6cs`4XCfyBUxV?!h1d!M!AYfdqaZo(9V-+)oL%"
        "A#h31mu$y_OLAGxD@ZBB152!iF~SMk`Ji?X1sv2)G97Npz6*gz0`Fz*58oy5OAye!qN$Qnf#5j^(KQ_>YZwYZn6m0CJ5;QWsfw|*"
        "5iKM?M6sX^!ES9yXJ8Kz?5BbQ2=+=aIM3+~L5$%%D68WJ<35cs0CCE=UuPU5j1N-A1cCz+9Mo2HtVa0|Lm5xd*9Psw8f_3nN_$AB"
        "eT2|HN@))x7?xlp*-<kZNhyK6f4l%vot@x!!jXA#x4s*k#|mUlGlqwwnuib^qaKdy9v&kelGMZFx_?IB38M&}kl@MW3X`>9-UlbL"
        "nr@adhv6y8oYI+}Cd@Kr9^;rX+zDv}83`0^{c{Df+T+YL9x4_l4EqzBNCdJ}B&Um<BqFD%h>9RDK|$N0m@fiFhHigWE*o?ujV=m6"
        ">B>4?h0q~NS4A)>!D(#+Rxux5<}*gbR<Z#-Fhx`StPX#Mz@Me?bGj^rI^j74=Ovid+>I5BDm>5T41Q&}dx7$M;R3aHQRkl_{Iit*"
        "5`xPT%xN1nUCftM<qV#|7uk^Md$u6HM9F>dG9`aSCx4ZYzedTgAh;^Q>(#1zSZr<Uz1cqf7G5QC4=-8idxT!2(!0lt<-CkilS;XQ"
        "%V{EhCs**f%S&WF`t!#NWL3z$w9F<UJTIdsdrDSw6NS7|K#912d8Ng#P=FX1JPp5+xv?&5V3jav7#N#EN|AJmM0`&py0uHqA*3qA"
        "!_2@>8%f4Fmi5pn>}9&@E>9x9y9oo7b$Ss0is2u8PviUD7;)5d<>#v#@CO^}INHHF@+RUg;nwxHYFh43Hh)ewh~3Z<7S)QeTE0ZQ"
        "znSSDT`sP*td>6!?-mxHzrO}`P)tAjXfd5D?Y-H+`~_}n{`#@z5K+tj7x}J%{0TOfKR9z@(^|CQufBM{0sT;O`jOZ{BL4R82TqVv"
        "o~@4fK2|)Ohz~TCKBN6HZSqfc{d1%N{YcaL7M<FvKkfRHn7V$kv$ui#i{4KDS*&&<_366rzpNjB7r%YIo@V#21xIezqMbYc?}zpC"
        "uS*!<EZ}k#ZQO#zVj<#xfAG$gM&fU}e(AN_RC}glwe|n{j~_18U;i#)yJ5=c+S_i`l;25|zPUbetbYI8BKYPTxE6m!Dd%tpKP!{3"
        "Ua4Fr5qIC_Y<NOZk3SIgM5Ez|-x~<{!$FVN6Y+$+o~S1f@pyy2Kp+~55SKTCZ+5t_50~cBqHUR)PxDEqdx3NQdn}JOA7FYI<Zms)"
        "QfDKc#C!<Z#E^_Qgk?@XJdgPxv5MjO*2H5RV0gH>>vuBn<E;XB_TaJRF3w_q;j!KtcJV%MzK*tWSRb!z?zAlSGal>bvF5(XVqNVV"
        "Ho#-eJ&(m+<FP>=Yi?OAcD<9shIp*G-LTj<cx;%*n!5svU9*D2MtH2b%(K`VJT}T>&Gos9)m_Qw#)8B$*H;#NZ2{QJgUxl2Q|{ow"
        "3sTEm+F0-n6L^U&ZLT<581U*&p-wFv79EZqwaRJRIq#W!zNfeRk2`Cf-$DN8A&lw+=$EP%2gR(>#?!I?16f{%CI"
    ),
    "views_legacy": (
        "c-n=P$$Q&G6u`AOPNFm=?36X^4vUdxMUo*<(}oaGx2P1vQjBa*A{SZmlgFVc1kB<zDf@Qgz>$BA8&|%M12dY5Y~>Th2TK}Bzu%iT"
        "Z=QzI4JG*Jx3#|)ul#Z0M0qHk{Zl6YyC9U@1wjycafG8*6g0L`-0wsoh~xoxp4<sK7ze0<!gj|CLE3i}GKhD2sL}6SLw%5Up-^(C"
        "$Y9@(VhmHZ<jUl#6JjXZ1-C#MQMd)uc406$bQURO5QnG@Vhcxc%P%(uxD)i1MvR(+PS9>(6!xRIv8^c}l}he3HIOI0Ed(-qMOh0X"
        "4_{=13KZPq<e8dYQ!Pu=EJM{y4W^P{TD<`Yrg#p+^oA|ivMuewj4j&o9?TxJ$h-s8!erWg<$T;mF>0@NT37*P$$>cx#~heX=7GIV"
        "0LOh2jxYPUx?6mvS=g`(wlsoUZE*y*9r%=VJBB+PxYL~>uf?c`JWOVP*Ue~mbJ{%{wnS+sY+(fVGTMC@?swpUB$NG?7kDu|n9DLX"
        "OSe>bh_FP$S|kZrT4IccF+AeHqsi)_ZV&IkV|fV6)O1x<;c<cx2;vEvLxCpmNs>x&4@wNTgyAU%o_1$xL3y#)MHt2K%zvzJ`h)_{"
        "-Yf}ao`mP9l_Wu>DXlQ0hN0?!zMotyUkAehGnox7&^}nZP-B&|Nh`(B;dy4_^|KlcngL1+=!HprwPw|7RRdOtUMBh%lfoInOH_Z7"
        ">FXF?cHq?5P%+?i#<1=Mn<;-a%de@bZow;@zsC8mQvN#QzlPy;2kfL`numfj8NsPFHk?Y%PD(1eWman%oa2)7TylX*Hkic0aM6J`"
        "lFgnttOnA%)y)tt{m;&<D)8nwlrrC)%B7HIznw<()?`GwTG5vc6<i+C+dQIoXhiR_h~DFK%S5BVWeo2-&~WD_0$uKE@PVI1;b%NG"
        "RjXFW@_F3T<enDww3!DT@er5-n;5nn@RKScJ&e>$CzJ3qq?e^ryOK%vaz!^a6+Yz3fGfLH88T&rq2~Z3-GtCBh%@lhz89zP{?Yl+"
        "mBbuA;P7n<|A@h_V%TxuTGA2*giea(<GkGHYE?503qIjHYnQV=rL4~wYse#F90fkd@Pz|kCV@AjD1fiBWk`n7z(-@5Sv3s3W|{`<"
        "@xZTh**=vWFxd?ZUpw$k(l}aCw-=zRB=6s5Q^UryE&sbolc^eXX7D{X{lHB>Qqxb&^fQKE9QZZ)5M8DpqMS&@JgAhnt>nDr&+Wcb"
        "d7Z78*Keltn#4@r7MjglQzfr)&*klmV|nE@kIM9WNq?d!9-a!q@FYK}^Xud&kMGup_4Gx4l=!i5WLyvy>qTMmm(U5ZUT5Ur>vHD)"
        "Uq|c<<NGUQZ1wQUs;?JQnUsphfv(ikXGN*-FA&p48~"
    ),
    "training": (
        "c-o~^&1(}u6rX&rwx;z1T0QhAD`>i#G)ZI8N|1P1sIek~Aj>2>%`Wa{<L+#=1))V+5Jpfs9`qnyyn7Qb`VZ(q58^>V@F0TV)q@9T"
        "vN7&%XyeBtliAG7@4er9^Lv}Rl1Ks|2w=d*!9D<;rfw{wX$@kS>s&Ew)hxIavbE&BA2A<rgNh`DI(Ad1N`j1AwuVgA#SkM^Gn$z4"
        "eL>1yLq<!-l#F7VdC#dHHcXe2eX4^Ro?&V#Ms3%2)a5+gqM}GLE;|TYh>}zn!H_l6hWLDMd5e;mL`kCA@u-r<^qc~exRTgpB$U`D"
        "y+uZvwrQd!HtaTwGji6^kb|_-oYEFOvPdyqq$Dln8U}Q!o)JY|&__s2rurTw-t)IXmDmQorSI>Z_s9XegAL1AMNTxwRQES~B%>YZ"
        "Kuc{ow%2j#<?e3Wbm*D+XZN{1AcAFEsEs{~t$lsT?G@RjL92t>M!Q87Kt}y~sTyj+6}}*}k&BUIFSFDH3tsP%V9%K)+d+`kXMtoj"
        "V`+&c*~SKJn0zy}<he*=Tj?$(PDW&T#gGR*l7vo+RYqVF+jUu`cP&5*xgFT#<vp^_i0g;@q}>KdnzrjQ${+ok_i}Y5BV<2Zx}Avw"
        "z(;*sSxtbMzN~VLvIViaj2xHUPOU0M)HU2>9{K6F_cyr+`Pe@4AyEDuxhE<WnntV5ub@^f{B>|<r5R3O{@T?qENc+ok-%Os-zU&m"
        "!N}%HtX1d!CGIaX4UA31Ic%KxbTG}Lq<7?y1t&vYJuTI$$Nz(X?{#gSeVt+-HrCj9bc!>Yxbyk$B-@xA!suw2kzA{a;Lqdp*lRC%"
        "yeDs-&+-7mj`7C8Tt8l4c;$aBL18zK{Q6<*!tnc_0{Pzp?564>$6yLvh5Y5D8d|NI`%5BHu_VjVY%yOb$(2%BD&{LQa-m!-S1S2Z"
        "xgu4{vvRReE^(F*t~_2B84t0`GRDdFc?O$ze1LiMe;|quHsC}Ec`**QYxk&=U=tk*Ie8s)GSInEKfy-W8}hT50D}z}g$Gre4Z+_g"
        "K%{q~*q{Q#SUnlR%28}kLt`QAy8w2Z+6Aw6Dx7l)3=v&jNvDtgl4#;sA1OrUk+?s9Px&*$W%!)v9q`}2skDy~y663~KLJ@I9U1"
    ),
    "module": (
        "c-o~_&vV;E6yDg0W0cnUQJSP_Nr3`&AaN|)ah!%W!7b*8O6oW*XqaI%iY$9IQKUR+l}wq*Oc=&(I6=8^V_=2@M{eBUz+V7oZX6g+"
        "+&HtVb!<sa(o%LJYxLgtz4un{d#hBXct1kPB<fisXbh>2hK*f)zOE8Av$JJZ$|>|=XdT2fVpCMcvNGFt-7|GJquCZw4NG@~4IMn)"
        "B8F-TfMz~{zI}+LWtNOM6k%9Rh#$&B^jX<a9d%nLy5mCsJ`DIEWz%akm?g0fgYrdYv207(p(ev6H1H8XadiSoO`*?*NeoL-1ZolB"
        "nU6qd!B7p($mjfcs<ySKI(22o(G_glTP~c{G}|<FjTpA&3U{2k?&$SfhDO<`nHmhs!yzIkjbP>*mB*RSaFvE<nqdr#t;s3oZP-qL"
        "c+Mw2D^K;fls$uBg#~E3aNdWF%a?j#s=24$cNI;gMb}}%2TsakL11@t7ku}WJbkP?l=7kvy(Et^s7q9$D|Px7+JT<)z0>mfh_{>S"
        "vX6M4@65E-`th(AeAtV;nLRMuJxX}R$Gya5&=wZFybrI)ebkbLtG%)_spM2gxXo{nrh1#%hgZ`$eu$~0UQ5dfO5M|qCMGc3<|`gC"
        "Ojl4Gok^$Om7xH0CqSt1T-#B0a{^@2X?c(abtzJ9>M+kKLWS;(Y;dCh*>=sM9H)0}$Ag@dAdp{|kQ9^R51=5$rM?HS@R`5qB7wyk"
        "ln(uerH62>2Fo%XQnYEPF1(KCFinf+F%K)kb)1u81aA1@TCgJZwP2NpdV@f@1~+-ATMyyQ8dN+?r|B)6#B?~`ZoxY>co(1b0TSlA"
        "zKzG$Fjwk(m`iaDbEVzETvAoc^|Fq+GHRIje*^Od-^ILv_b~0*`~HN}sch&f@f_O752Uz!hT3e8bd9nU^EO>?GgFlYlk1;<_3d4{"
        "X?9glJfkMi)y^4}q59rdiL%R12ivNYuSAZjW0%O1{rLCqpR#w!u9K5Zp~Y^pcE{;B8cl1P9z~UM{z>vhSFykfSlNTWVl+kU)B;A)"
        "N~eI$`$V_dVO1$FKTY1FWg3K-I;){|{f`T5KoY0ckU}>?UxoQ>rF`vw6u_e%tk9oT`bVz=dVRCXDw_D>&qtHgG5MH^X2TVUm2w(A"
        "d487r;AfWahu?lGu>{Fe^9`frPQH%T7N7PN<OP=b*RPxR9^e0Il<Nx6->R!S^xJBDtg^3{V$>_;%zrE-yHFIxY-u5vFN#aW#q2_E"
        "sUT*>Vy;vuEs0BFA-_;4WwX9Ye`#L+Cr#@}`&IU_VmoyP=XIo~^638&QFd?uCqm5c`q4=f9t{#4qN(uU44_jcHyS562&17mUk2iI"
        "1~5twsx}p(k0(%McB0&%0>j+zqg*k{4QgmO#GM>OQN>2d!PZWP_Z%P}FS@FfNX#BdG(Oj1CL{Nu7{8a=2FhdKPIOb?&;0ZqNN`Tl"
        "$8+qz`W~<C"
    ),
    "shard_1": (
        "c-o~@J#W)M7(UyH6AYvuOG<~X1OaZGPX`34Eab%lY4}jYV!6(dTDWn~zN9J=QY1tqHuwP`CN>s?#7|&EFtafL6Dtc6cQJL(uIjdM"
        "^7&-nJ<t2Rub<Z)L&yM-&w~SF9xMXOw>O<JT<u%flD8kYx>f-9Vq?NTLZC<CWqAiWgH4P$8+!yNn<MPFfn@q{W8}Df6T@NP`R2GH"
        "A-+`V<p?GqC#?ZQLI{y`*R$}g@TG(@J&y9CY)>Goy*)yrA!3wUH-Nz#!W88V!QiIo)KlB`To>Bd@rHqP)9*tc_HQ^gmXLIzi%w&7"
        "ri;!7a>vN!Z@=STydiXSb`DLx2ntd1@_o<WvamUZen0}~n#9yVp`7o3etAr#a;colpt;ZaH*?c+oxyMm4zaFP6Qw=YXw;~H_73{N"
        "lMsBWfCbQw1Z?bL=+Q#y+SPxFyEj}1V;52lPp*AECz2>)s)ho%9&^=dS=X-ohk%fE(k8bxa*;V9^VJ$vRDAaB`4ZV!N>wxmE=G!?"
        "PkjEklByDo^y%f`&e8Q>0hN6N%#shF?+^z(w5W4Ur>|@B32UL$n-x`Qwd#tZ)@zMgwOnbG>rGW{G^<Lv)>6nuL#<b+%D1nlnG(@a"
        "nyKWd*hnYa7V`&`C;tOUG}{2h81grRPBc=Igf;PUjAWeyDV>w#VU4&D<N3_+L=BLHv#u$`;CFeD@NN>z`d}`G{mx(y$)Ei^D=~0a"
        "07n?7V~FCVJ(~%aBV;bIe&oXSmk_Q5H{1G<4WGk5SXK-%x!L*f>>nl^R0I"
    ),
    "shard_2": (
        "c-p0uv5V7C9LHahYZ{~WdLk5WxKS!-u1TAw_0U3)AY`ytQA(GPrq3G8HTRO&ih^(;9sCCz9d&hc)6r49$-&LZ$wko7_Zlykq+HHB"
        "AB0ER_x=7pzvTN%*W^|J5CpKa%HRU91LvVTgPS88+tThM&(KR?kXn1}GX(lPIbV~8t{o!A!9Gz*))c#5C|Us=PF-(gVK@o>z?vx{"
        "Vyo4DktjlP(jG&^MH12Qd>h}5eiYG4pP{a((C5hR>`oDHvKSS&O<=NfB$&(`oq6FnzUM&)yZ$5;?*t<lz|k$&!6Fi`^w3$1&h^mw"
        "Q0kgR;q}kUFW(R=dUcO%y8<r8ZA%aQV8_PR3<e=7VCdyc_k)2<o!|ZV`kcZtxz6iAJ9PfryJdUsc(Ma0*wE`s=Krvo4GPeCjJ~s^"
        "1e*)620Ago@Ck-KeO!jVb(*>d%X2aIAZ3`}_;!irfX`(pft#sRZPpC^`hNfbu-75i2TJgE|9y*=6mkhx!B$KVzgX?G2z8NG{`_iu"
        "@A&7x0hGf4ESe8t;F1J9wP}7WcVy_&2|;94Q(AJnt;%vsZ8RJ8n$oPPt#(_JwT7a|vRZGoHASP8mD>TR5{~MElA*9MXL2~oOXS(_"
        "Kvta`fJ#dFE1}MeQ`RII;`NltHUn}dC+m|8;#$gQKj9M(KvteiQ7I+A&w@;Lv)W`1R#Vz93GEU6CtuG-O5EeXF~RAYJb(2dX56({"
        "S<LL8m}vjaMLW?g{`y#m?xQbQfsZuB#rf#$A8o~0$N"
    ),
}
TYPES = {
    "float64": [1, 2, 4],
    "float16": [1, 2, 4],
    "bfloat16": [1, 2, 4],
    "float8_e4m3fn": [1, 2, 4],
    "float8_e5m2": [1, 2, 4],
    "int64": [1, 2, 4],
    "int8": [1, 2, 4],
    "uint16": [1, 2, 4],
    "bool": [1, 1, 1],
    "complex64": [1, 2, 4],
}


def content(name):
    return zlib.decompress(base64.b85decode(WRITTEN[name]))


def write(path, name):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content(name))
    return open_checkpoint(path)


@pytest.mark.parametrize("name", ["views", "views_legacy"])
def test_views_and_types_come_back_exactly(tmp_path, name):
    loaded = write(tmp_path / "step_1.pt", name).load()
    types = loaded.pop("types")
    expected = {
        "turned": [[0, 3], [1, 4], [2, 5]],
        "tail": [4, 5],
        "repeated": [2, 2],
        "scalar": 2.5,
        "empty": np.zeros((0, 3)),
        "parameter": [0, 1],
    }
    assert loaded.keys() == expected.keys()
    for key, values in expected.items():
        assert loaded[key].dtype == np.float32
        np.testing.assert_array_equal(loaded[key], values, strict=False)
        assert loaded[key].shape == np.shape(values)
    assert {key: array.dtype.name for key, array in types.items()} == {key: key for key in TYPES}
    for key, values in TYPES.items():
        np.testing.assert_array_equal(types[key].astype(complex), values)


def test_a_training_state_yields_the_model(tmp_path):
    checkpoint = write(tmp_path / "epoch=3-step=1200.ckpt", "training")
    assert (checkpoint.step, checkpoint.format) == (1200, "torch")
    loaded = checkpoint.load()
    np.testing.assert_array_equal(loaded["0"]["weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(loaded["0"]["bias"], [1, -1])
    assert open_checkpoint(checkpoint.path, "epoch").load() == 3
    assert open_checkpoint(checkpoint.path, "optimizer_state_dict/param_groups/0/lr").load() == 0.1
    with pytest.raises(CheckpointError, match=r"no params_key 'state_dict': there is no 'state_dict' among"):
        open_checkpoint(checkpoint.path, "state_dict").load()


def test_a_layer_fits_a_template_of_another_library(tmp_path):
    write(tmp_path / "step_1.pt", "training")
    [checkpoint] = find_checkpoints(tmp_path, transpose="torch")
    template = {"params": {"0": {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}}}
    fitted = checkpoint.load(template)
    np.testing.assert_array_equal(fitted["params"]["0"]["kernel"], [[0, 3], [1, 4], [2, 5]])


def test_shards_are_read_through_their_index(tmp_path):
    folder = tmp_path / "checkpoint-500"
    shards = {"0.weight": "pytorch_model-00001-of-00002.bin", "0.bias": "pytorch_model-00002-of-00002.bin"}
    write(folder / shards["0.weight"], "shard_1")
    write(folder / shards["0.bias"], "shard_2")
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    (folder / "optimizer.pt").write_bytes(b"never read")
    [checkpoint] = find_checkpoints(tmp_path)
    assert (checkpoint.step, checkpoint.format) == (500, "torch")
    loaded = checkpoint.load()
    np.testing.assert_array_equal(loaded["0"]["weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(loaded["0"]["bias"], [1, -1])
    index.write_text(json.dumps({"weight_map": shards | {"1.bias": shards["0.bias"]}}))
    with pytest.raises(
        CheckpointError, match=r"names 1 arrays its shards do not hold, the first being '1\.bias'"
    ):
        checkpoint.load()
    (folder / shards["0.bias"]).unlink()
    with pytest.raises(
        CheckpointError, match=r"Cannot read checkpoint '.*pytorch_model-00002-of-00002\.bin'"
    ):
        checkpoint.load()


def test_one_file_in_a_folder_is_its_checkpoint(tmp_path):
    write(tmp_path / "checkpoint-7" / "pytorch_model.bin", "shard_2")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "config.json"):
        (tmp_path / "checkpoint-7" / name).write_bytes(b"")
    (tmp_path / "checkpoint-7" / "pytorch_model.bin").rename(tmp_path / "checkpoint-7" / "weights.pt")
    [checkpoint] = find_checkpoints(tmp_path)
    np.testing.assert_array_equal(checkpoint.load()["0"]["bias"], [1, -1])


def test_a_pickled_module_is_refused(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"Python object \(torch\.nn\.modules\.container\.Sequential\)"
    ) as caught:
        write(tmp_path / "step_1.pt", "module").load()
    assert "save model.state_dict() or safetensors instead." in str(caught.value)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["LLTC_BOMB"],)


class Trap(dict):
    def __setstate__(self, state):
        os.mkdir(os.environ["LLTC_BOMB"])


def rewrite(path, opcodes):
    """Write the torch file of `shard_2` with `opcodes` as its pickle."""
    with zipfile.ZipFile(io.BytesIO(content("shard_2"))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, opcodes if name.endswith("data.pkl") else old.read(name))
    return open_checkpoint(path)


@pytest.fixture
def exploded(tmp_path, monkeypatch):
    monkeypatch.setenv("LLTC_BOMB", str(tmp_path / "exploded"))
    pickle.loads(pickle.dumps(Bomb()))  # the bomb works
    (tmp_path / "exploded").rmdir()
    return (tmp_path / "exploded").exists


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "wrap", [lambda bomb: bomb, lambda bomb: {"w": bomb}, lambda bomb: [bomb, Trap(a=bomb)]]
)
def test_no_code_in_a_file_ever_runs(tmp_path, exploded, protocol, wrap):
    payload = pickle.dumps(wrap(Bomb()), protocol)
    header = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
    (tmp_path / "step_2.pt").write_bytes(payload)
    (tmp_path / "step_3.bin").write_bytes(header + payload + pickle.dumps([], 2))
    for checkpoint in (rewrite(tmp_path / "step_1.pt", payload), *find_checkpoints(tmp_path)):
        with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*step_\d"):
            checkpoint.load()
    assert not exploded()


def test_no_text_opcode_runs_code_either(tmp_path, exploded):
    target = os.environ["LLTC_BOMB"].encode()
    for opcodes in (b"cos\nmkdir\n(S'%s'\ntR.", b"(S'%s'\nios\nmkdir\n.", b"(cos\nmkdir\nS'%s'\no."):
        with pytest.raises(CheckpointError, match="step_1"):
            rewrite(tmp_path / "step_1.pt", opcodes % target).load()
    assert not exploded()


def test_weights_beside_a_bomb_are_read_and_the_bomb_left_out(tmp_path, exploded):
    with zipfile.ZipFile(io.BytesIO(content("shard_2"))) as archive:
        [weights] = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    bomb = pickle.dumps(Bomb(), 2)
    name = b"X\x04\x00\x00\x00"
    both = b"\x80\x02}(" + name + b"evil" + bomb[2:-1] + name + b"good" + weights[2:-1] + b"u."
    loaded = rewrite(tmp_path / "step_1.pt", both).load()
    np.testing.assert_array_equal(loaded.pop("good")["0"]["bias"], [1, -1])
    assert loaded == {}
    assert not exploded()


@pytest.mark.parametrize("name", ["views", "views_legacy", "training"])
def test_every_truncation_is_told(tmp_path, name):
    whole = content(name)
    checkpoint = write(tmp_path / "step_1.pt", name)
    for length in range(0, len(whole), 97):
        checkpoint.path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load()
        assert str(caught.value).startswith(f"Cannot read checkpoint '{checkpoint.path}'")
        assert "\n" not in str(caught.value)


def test_a_view_beyond_its_storage_is_refused(tmp_path):
    with zipfile.ZipFile(io.BytesIO(content("shard_2"))) as archive:
        [weights] = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    shape_and_strides = b"K\x02\x85"
    assert shape_and_strides in weights
    with pytest.raises(CheckpointError, match="step_1"):
        rewrite(tmp_path / "step_1.pt", weights.replace(shape_and_strides, b"K\xff\x85", 1)).load()


def test_another_archive_is_no_torch_file(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.ones(2))
    checkpoint = open_checkpoint((tmp_path / "a.npz").rename(tmp_path / "step_2.pt"))
    with pytest.raises(CheckpointError, match=r"it is a zip archive, but not one of torch\.save"):
        checkpoint.load()
